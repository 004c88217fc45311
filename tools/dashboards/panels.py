"""Panels of the kinds that we use, with the options that Grafana's schema wants, and how their fields are shown.

Colours are those of Okabe and Ito, which people with any colour vision tell apart; states always have a text, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from tools.dashboards.board import Look
from tools.dashboards.setting import Json

BLUE, ORANGE, VERMILION, GREEN, GREY = "#0072B2", "#E69F00", "#D55E00", "#009E73", "#8C8C8C"

LEGEND: Json = {"showLegend": True, "displayMode": "list", "placement": "bottom", "calcs": []}
NO_LEGEND: Json = {"showLegend": False, "displayMode": "list", "placement": "bottom", "calcs": []}
TOOLTIP: Json = {"mode": "multi", "sort": "none"}

CHANNEL_NAME = "${__field.labels.channel}"
"""Series are named by their channel."""


def reduced(fields: str = "") -> Json:
    """The last value of each field."""
    return {"values": False, "calcs": ["lastNotNull"], "fields": fields}


def keep(pattern: str) -> Json:
    """A transformation that keeps the fields whose names match."""
    return {"id": "filterFieldsByName", "options": {"include": {"pattern": pattern}}}


def override(name: str, **properties: object) -> Json:
    """How the field of a name is shown; `custom__x` stands for `custom.x`."""
    return matched("byName", name, **properties)


def matched(matcher: str, options: object, **properties: object) -> Json:
    """How fields that match are shown."""
    return {
        "matcher": {"id": matcher, "options": options},
        "properties": [{"id": key.replace("__", "."), "value": value} for key, value in properties.items()],
    }


def steps(first: str, *rest: tuple[float, str]) -> Json:
    """Thresholds: the first colour from below, others from a value on."""
    made: list[Json] = [{"color": first, "value": None}]
    return {"mode": "absolute", "steps": made + [{"color": color, "value": value} for value, color in rest]}


def ranges(*parts: tuple[float | None, float | None, str, str]) -> list[Json]:
    """Texts in place of numbers: from, to, text, colour."""
    return [
        {
            "type": "range",
            "options": {"from": low, "to": high, "result": {"index": index, "text": text, "color": color}},
        }
        for index, (low, high, text, color) in enumerate(parts)
    ]


def words(texts: Mapping[str, tuple[str, str]]) -> list[Json]:
    """Texts and colours in place of values."""
    options = {
        value: {"index": index, "text": text, "color": color}
        for index, (value, (text, color)) in enumerate(texts.items())
    }
    return [{"type": "value", "options": options}]


def stat(
    defaults: Json, *, overrides: Sequence[Json] = (), transformations: Sequence[Json] = (), **more: object
) -> Look:
    """Large numbers."""
    options: Json = {
        "reduceOptions": reduced(),
        "orientation": "auto",
        "textMode": "auto",
        "colorMode": "value",
        "graphMode": "none",
        "justifyMode": "auto",
        "wideLayout": True,
        "showPercentChange": False,
        "percentChangeColorMode": "standard",
    }
    return Look("stat", options | more, {"thresholds": steps(BLUE)} | defaults, overrides, transformations)


def gauge(defaults: Json, *, transformations: Sequence[Json] = ()) -> Look:
    """A dial."""
    options: Json = {
        "reduceOptions": reduced(),
        "orientation": "auto",
        "showThresholdLabels": False,
        "showThresholdMarkers": False,
        "minVizWidth": 75,
        "minVizHeight": 75,
        "sizing": "auto",
        "shape": "gauge",
        "barShape": "flat",
        "barWidthFactor": 0.4,
        "segmentCount": 1,
        "segmentSpacing": 0.3,
        "effects": {"barGlow": False, "centerGlow": False, "gradient": False},
    }
    return Look("gauge", options, {"thresholds": steps(BLUE)} | defaults, (), transformations)


def timeseries(
    defaults: Json,
    *,
    custom: Json | None = None,
    overrides: Sequence[Json] = (),
    transformations: Sequence[Json] = (),
) -> Look:
    """Lines over time. Where nothing is, nothing is drawn."""
    style: Json = {
        "drawStyle": "line",
        "lineInterpolation": "linear",
        "lineWidth": 2,
        "fillOpacity": 8,
        "showPoints": "never",
        "spanNulls": False,
        "axisPlacement": "auto",
        "axisSoftMin": 0,
    }
    made = {"color": {"mode": "palette-classic"}, "custom": style | (custom or {})} | defaults
    return Look(
        "timeseries", {"legend": LEGEND, "tooltip": TOOLTIP}, made, [*SECOND_CHANNEL, *overrides], transformations
    )


SECOND_CHANNEL = (
    matched("byRegexp", "/ch2$/", color={"mode": "fixed", "fixedColor": BLUE}),
    matched(
        "byRegexp",
        "/ch3$/",
        color={"mode": "fixed", "fixedColor": VERMILION},
        custom__lineStyle={"fill": "dash", "dash": [10, 6]},
    ),
)
"""The two channels of the paper differ in colour and in line."""


def bars(step_ms: int) -> Json:
    """Custom options of bars that begin at their time."""
    return {"drawStyle": "bars", "lineWidth": 0, "fillOpacity": 80, "barAlignment": 1, "insertNulls": step_ms * 2}


def barchart(defaults: Json, *, overrides: Sequence[Json] = (), stacked: bool = True, level: bool = False) -> Look:
    """Bars beside each other, or on top of each other."""
    options: Json = {
        "orientation": "horizontal" if level else "auto",
        "stacking": "normal" if stacked else "none",
        "showValue": "auto",
        "barWidth": 0.9,
        "groupWidth": 0.8,
        "fullHighlight": False,
        "xTickLabelRotation": 0,
        "xTickLabelMaxLength": 0,
        "xTickLabelSpacing": 100,
        "legend": LEGEND,
        "tooltip": TOOLTIP,
    }
    made = {"color": {"mode": "palette-classic"}, "custom": {"fillOpacity": 80, "lineWidth": 0, "axisSoftMin": 0}}
    return Look("barchart", options, made | defaults, overrides)


def table(overrides: Sequence[Json], *, rows: int = 0) -> Look:
    """A table; its columns are shown by `overrides`."""
    options: Json = {"frameIndex": 0, "showHeader": True, "cellHeight": "sm", "enablePagination": rows > 0}
    defaults: Json = {"custom": {"align": "auto", "filterable": False, "inspect": False, "minWidth": 110}}
    return Look("table", options, defaults, overrides)


def heatmap(unit: str, row_unit: str, row_name: str) -> Look:
    """A cell for each day and row; rows are the fields, in their order, named by a label."""
    options: Json = {
        "calculate": False,
        "color": {
            "mode": "scheme",
            "scheme": "Viridis",
            "fill": "#0072B2",
            "scale": "linear",
            "exponent": 0.5,
            "steps": 64,
            "reverse": False,
            "min": 0,
        },
        "cellGap": 1,
        "cellValues": {"unit": unit, "decimals": 2},
        "exemplars": {"color": "rgba(255,0,255,0.7)"},
        "filterValues": {"le": -1},
        "legend": {"show": True},
        "rowsFrame": {"layout": "auto"},
        "showValue": "never",
        "tooltip": {"mode": "single", "yHistogram": False, "showColorScale": True},
        "yAxis": {"axisPlacement": "left", "reverse": True, "unit": row_unit},
    }
    defaults: Json = {
        "unit": unit,
        "displayName": f"${{__field.labels.{row_name}}}",
        "custom": {"scaleDistribution": {"type": "linear"}},
    }
    return Look("heatmap", options, defaults)


def states(mappings: Sequence[Json]) -> Look:
    """A band for each channel, with the states' texts."""
    options: Json = {
        "mergeValues": True,
        "showValue": "auto",
        "alignValue": "left",
        "rowHeight": 0.8,
        "legend": LEGEND,
        "tooltip": {"mode": "single", "sort": "none"},
    }
    defaults: Json = {
        "displayName": CHANNEL_NAME,
        "color": {"mode": "thresholds"},
        "thresholds": steps(GREY),
        "mappings": list(mappings),
        "custom": {"fillOpacity": 80, "lineWidth": 0},
    }
    return Look("state-timeline", options, defaults)


def histogram(defaults: Json, bucket: float) -> Look:
    """How often values of each size came."""
    options: Json = {"bucketSize": bucket, "bucketOffset": 0, "combine": False, "legend": NO_LEGEND, "tooltip": TOOLTIP}
    made: Json = {"color": {"mode": "fixed", "fixedColor": BLUE}, "custom": {"fillOpacity": 80, "lineWidth": 1}}
    return Look("histogram", options, made | defaults)


def text(content: str) -> Look:
    """Words."""
    return Look("text", {"mode": "markdown", "content": content})
