"""Home Assistant MQTT discovery: every quantity of every channel as a sensor, under the gateway's own prefix.

The sensors read the batches of readings themselves (`mesh/.../reading`) with templates, so nothing is published twice.
A template takes the newest reading of its channel that has the quantity. It yields nothing, which Home Assistant
ignores, for batches of other channels and for the backlog after an outage; a value that stays away expires, and never
becomes 0.

Source: Home Assistant's documentation of its MQTT integration (discovery, sensor).
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from minervas_core.identifiers import Principal
from minervas_core.topics import mesh
from minervas_meter_gateway import __version__
from minervas_meter_gateway.bus_plan import ChannelPlan, MeterPlan, PortPlan

FRESH_S = 60
"""Age from which a reading is backlog, and after which a sensor without a value is shown as unavailable."""


@dataclass(frozen=True, slots=True)
class Quantity:
    """How a value of a reading is shown."""

    key: str
    """Of the map and of the sensor."""
    field: str
    """Of the reading."""
    per_unit: int
    """Units of the field in one unit of the sensor."""
    unit: str
    state_class: str
    digits: int

    @property
    def device_class(self) -> str:
        """Home Assistant's name of the quantity, which is ours."""
        return self.key


QUANTITIES = (
    Quantity("power", "power_mw", 1_000, "W", "measurement", 3),
    Quantity("energy", "energy_mwh", 1_000_000, "kWh", "total_increasing", 6),
    Quantity("voltage", "voltage_mv", 1_000, "V", "measurement", 3),
    Quantity("current", "current_ma", 1_000, "A", "measurement", 3),
)


def discovery(me: Principal, ports: Sequence[PortPlan], network: str) -> dict[str, bytes]:
    """What to publish, retained, so that Home Assistant finds every channel.

    Args:
        me: the gateway.
        ports: what it reads.
        network: network id, which makes the sensors' ids unique among consortia.

    Returns:
        Payload by topic.
    """
    found: dict[str, bytes] = {}
    for meter in (meter for port in ports for meter in port.meters):
        for channel in meter.channels:
            for quantity in QUANTITIES:
                if quantity.key in channel.values.fields():
                    name = f"{meter.id}_{channel.name}_{quantity.key}"
                    sensor = _sensor(me, network, meter, channel, quantity)
                    found[topic(me, name)] = json.dumps(sensor, sort_keys=True).encode()
    return found


def topic(me: Principal, sensor: str) -> str:
    """Where a sensor of a gateway is announced."""
    return f"homeassistant/sensor/minervas-{me.member}-{me.service}/{sensor}/config"


def _sensor(
    me: Principal, network: str, meter: MeterPlan, channel: ChannelPlan, quantity: Quantity
) -> dict[str, object]:
    device_id = f"minervas_{network}_{me.member}_{meter.id}"
    return {
        "name": f"{channel.name} {quantity.key}",
        "unique_id": f"{device_id}_{channel.name}_{quantity.key}",
        "state_topic": mesh(me, "reading"),
        "value_template": _value_template(meter.id, channel.name, quantity),
        "unit_of_measurement": quantity.unit,
        "device_class": quantity.device_class,
        "state_class": quantity.state_class,
        "suggested_display_precision": min(quantity.digits, 3),
        "expire_after": FRESH_S,
        "availability_topic": mesh(me, "presence"),
        "availability_template": "{{ value_json.state }}",
        "payload_available": "online",
        "payload_not_available": "offline",
        "device": {
            "identifiers": [device_id],
            "name": f"{me.member} {meter.id}",
            "model": meter.map.content.name,
            "sw_version": __version__,
        },
        "origin": {"name": "Minervas meter-gateway", "sw_version": __version__},
    }


def _value_template(meter: str, channel: str, quantity: Quantity) -> str:
    """A Jinja template in Home Assistant's dialect; ids are of a-z, 0-9 and - and need no quoting."""
    return (
        f"{{% set found = value_json.body.readings | selectattr('meter', 'eq', '{meter}')"
        f" | selectattr('channel', 'eq', '{channel}') | selectattr('{quantity.field}', 'defined') | list %}}"
        f"{{% if found and now().timestamp() - found[-1].time_ms / 1000 < {FRESH_S} %}}"
        f"{{{{ (found[-1].{quantity.field} / {quantity.per_unit}) | round({quantity.digits}) }}}}{{% endif %}}"
    )
