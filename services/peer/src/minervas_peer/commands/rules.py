"""`minervas rules`: orders that the peer places by itself."""

from __future__ import annotations

from minervas_peer.api_client import ApiClient, Json
from minervas_peer.commands.output import Output, when
from minervas_peer.commands.prices import price_per_kwh


def show_rules(client: ApiClient, output: Output) -> None:
    """Show all rules and what they did."""
    page = client.get("/v1/rules")
    if output.as_json:
        output.json(page)
    elif not page["rules"]:
        output.say("There are no standing rules; minervas rules sell|buy makes one.")
    for rule in () if output.as_json else page["rules"]:
        _show(output, rule)


def set_rule(client: ApiClient, output: Output, rule: str, terms: Json) -> None:
    """Make or replace a rule."""
    _tell(output, client.put(f"/v1/rules/{rule}", terms), "It counts from now on.")


def pause_rule(client: ApiClient, output: Output, rule: str, *, paused: bool, cancel_open: bool) -> None:
    """Pause a rule, or let it go on."""
    shown = client.put(f"/v1/rules/{rule}/pause", {"paused": paused, "cancel_open": cancel_open})
    _tell(output, shown, _about_orders(cancel_open=cancel_open) if paused else "It goes on.")


def remove_rule(client: ApiClient, output: Output, rule: str, *, cancel_open: bool) -> None:
    """Remove a rule."""
    removed = client.delete(f"/v1/rules/{rule}", cancel_open="true" if cancel_open else "false")
    _tell(output, removed, f"Removed. {_about_orders(cancel_open=cancel_open)}")


def _about_orders(*, cancel_open: bool) -> str:
    if cancel_open:
        return "Its open orders are being taken back."
    return "Its open orders stay until their slot ends; --cancel-open takes them back."


def _tell(output: Output, rule: Json, line: str) -> None:
    if output.as_json:
        output.json(rule)
        return
    _show(output, rule)
    output.say(line)


def _show(output: Output, rule: Json) -> None:
    price = price_per_kwh(rule["price_micro"])
    facts: list[tuple[str, object]] = [("state", "paused" if rule["paused"] else "active")]
    if rule["rule"] == "sell":
        facts += [("price per kWh", f"{price} or above"), ("Wh kept", f"{rule['keep_wh']:,}")]
    else:
        facts += [("price per kWh", f"{price} or below"), ("Wh per slot", f"{rule['energy_wh']:,}")]
    facts += [
        ("orders placed", f"{rule['orders']:,}, {rule['ordered_wh']:,} Wh"),
        ("taken back, refused", f"{rule['cancellations']:,}, {rule['refusals']:,}"),
    ]
    if decision := rule["last_decision"]:
        order = f", order {decision['order']}" if decision["order"] else ""
        outcome = decision["outcome"].replace("_", " ")
        facts.append(("last decision", f"{outcome}, at block {decision['height']}{order}"))
    if error := rule["last_error"]:
        facts.append(("last error", f"{error['code']}: {error['message']} ({when(error['at_ms'])} UTC)"))
    output.facts(f"Rule: {rule['rule']}", facts)
