"""What the members of the demo meter: the paper's university, a farm, and a cooperative."""

from __future__ import annotations

from minervas_devnet.site import MeteredChannel, Site

UNIVERSITY = Site(
    channels=(
        MeteredChannel("pzem-2", "ch2", "pzem-003", address=2, rated_w=120, start_wh=1_200),
        MeteredChannel("pzem-3", "ch3", "pzem-003", address=3, rated_w=120, start_wh=1_150),
    ),
)
"""The paper's member: two panels of 120 W, each on a PZEM-003."""
FARM = Site(
    channels=(MeteredChannel("barn", "array", "sdm630", address=1, rated_w=30_000, start_wh=84_210),),
    drop_per_mille=20,
    bad_crc_per_mille=20,
    start_time="10:30",
)
"""An array on a barn; its bus drops replies and garbles others now and then."""
COOPERATIVE = Site(
    channels=(MeteredChannel("salt-field", "array", "sdm630", address=1, rated_w=60_000, start_wh=310_070),),
    start_time="11:00",
)
"""An array large enough that even short slots carry energy."""
