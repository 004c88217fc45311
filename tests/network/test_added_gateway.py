"""A running member adds a gateway, and then a meter of that gateway; the energy of both gets on every node's chain."""

from __future__ import annotations

from minervas_devnet.site import MeteredChannel, Site
from tests.support.added_gateway import AddedGateway
from tests.support.metering import assert_one_market, wait_minted
from tests.support.network import Network

BARN = Site(
    channels=(
        MeteredChannel("barn", "array", "sdm630", address=1, rated_w=900_000),
        MeteredChannel("shed", "array", "sdm630", address=2, rated_w=900_000),
    ),
    baud=38_400,
)


def test_energy_of_a_second_gateway_and_of_a_meter_added_to_it_gets_on_chain(network: Network) -> None:
    node = network.beta
    added = AddedGateway(network, node, "meter-gateway-2", BARN)
    try:
        added.meters.process.start()
        added.meters.wait_ready()
        added.write_settings(["barn"])
        added.process.start()
        added.join()
        added.wait_ready()
        wait_minted(node, "barn", by=network.gamma)
        wait_minted(node, "roof", by=network.gamma)
        added.write_settings(["barn", "shed"])
        added.process.stop()
        added.process.start()
        added.wait_ready()
        added.join()
        wait_minted(node, "shed", by=network.gamma)
        assert_one_market(network)
    finally:
        added.stop()
