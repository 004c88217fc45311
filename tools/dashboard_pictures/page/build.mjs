// Bundles the page: one script and one style sheet, into the directory of the first argument.
import { build } from 'esbuild';

await build({
  entryPoints: ['page.tsx'],
  inject: ['before.js'],
  bundle: true,
  minify: true,
  outfile: `${process.argv[2]}/page.js`,
  define: { 'process.env.NODE_ENV': '"production"', global: 'window' },
  loader: { '.svg': 'dataurl', '.png': 'dataurl', '.woff2': 'dataurl', '.woff': 'dataurl', '.ttf': 'dataurl' },
  jsx: 'transform',
  logLevel: 'error',
});
