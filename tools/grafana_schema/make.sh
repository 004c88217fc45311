#!/bin/sh
# Make the JSON schemas that the dashboards are checked against (`make dashboard-schema`; needs Node.js and npm).
#
# Source: the TypeScript types in Grafana's npm package @grafana/schema (Apache-2.0), turned into JSON schema by
# ts-json-schema-generator. Only the result is kept, in infra/grafana/schema; nothing of Node.js is needed otherwise.
set -eu
cd "$(dirname "$0")/../.."
SCHEMA=13.2.3
GENERATOR=2.3.0
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT INT TERM

npm install --prefix "$work" --ignore-scripts --no-save --no-package-lock --no-audit --no-fund --silent \
    "@grafana/schema@$SCHEMA" "ts-json-schema-generator@$GENERATOR"
raw="$work/node_modules/@grafana/schema/dist/types/raw"

# convert FILE TYPE NAME: the schema of a type.
convert() {
    "$work/node_modules/.bin/ts-json-schema-generator" --no-type-check --path "$raw/$1" --type "$2" >"$work/$3.json"
}
convert dashboard/x/types.gen.d.ts Dashboard dashboard
for panel in barchart gauge heatmap histogram stat statetimeline table text timeseries; do
    convert "composable/$panel/panelcfg/x/types.gen.d.ts" Options "options-$panel"
    case $panel in
        gauge | stat | text) ;; # these have no field options of their own
        *) convert "composable/$panel/panelcfg/x/types.gen.d.ts" FieldConfig "fields-$panel" ;;
    esac
done
.venv/bin/python -m tools.grafana_schema "$work" infra/grafana/schema "@grafana/schema $SCHEMA"
