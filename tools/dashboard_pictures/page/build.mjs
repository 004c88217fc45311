// Bundles the page: one script and one style sheet, into the directory of the first argument.
import { build } from 'esbuild';

// The CommonJS builds: those for `import` take the default exports of older packages as Node does, not as bundlers do.
const packages = ['data', 'i18n', 'ui'];
const alias = Object.fromEntries(packages.map((name) => [`@grafana/${name}`, `./node_modules/@grafana/${name}/dist/cjs/index.cjs`]));

await build({
  entryPoints: ['page.tsx'],
  inject: ['before.js'],
  bundle: true,
  minify: true,
  outfile: `${process.argv[2]}/page.js`,
  alias,
  define: { 'process.env.NODE_ENV': '"production"', global: 'window' },
  loader: { '.svg': 'dataurl', '.png': 'dataurl', '.woff2': 'dataurl', '.woff': 'dataurl', '.ttf': 'dataurl' },
  jsx: 'transform',
  logLevel: 'error',
});
