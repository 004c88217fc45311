"""A bare MQTT client that does what our own bus never would: any client id, QoS, will, version and session."""

from __future__ import annotations

import socket
import threading
from types import TracebackType
from typing import Any, Self

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from minervas_runtime.tls_diagnosis import client_context
from tests.support.fix_broker import Broker
from tests.support.pki import CertFiles
from tests.support.wait import wait_until


class RawClient:
    """One paho client. Use as a context manager: connected inside, unless the broker refuses."""

    def __init__(
        self,
        broker: Broker,
        files: CertFiles,
        client_id: str = "",
        *,
        clean_start: bool = True,
        session_expiry_s: int = 0,
        will: tuple[str, bytes] | None = None,
        version: MQTTProtocolVersion = MQTTProtocolVersion.MQTTv5,
    ) -> None:
        self.received: list[tuple[str, bytes]] = []
        self.connect_code: int | None = None
        """Reason code of CONNACK; None before."""
        self.closed = False
        self.hold = threading.Event()
        """While it is clear, messages wait in the handler: a slow consumer."""
        self.hold.set()
        self._acks: dict[int, int] = {}
        self._broker = broker
        self._clean_start = clean_start
        self._session_expiry_s = session_expiry_s
        self.paho = paho.Client(
            CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=version,
            reconnect_on_failure=False,
            clean_session=None if version == MQTTProtocolVersion.MQTTv5 else clean_start,
        )
        self.paho.tls_set_context(client_context(files.ca_file, files.cert_file, files.key_file))
        if will is not None:
            self.paho.will_set(*will, qos=1)
        self.paho.on_socket_open = _set_no_delay
        self.paho.on_connect = self._on_connect
        self.paho.on_disconnect = self._on_disconnect
        self.paho.on_publish = self._on_ack
        self.paho.on_subscribe = self._on_subscribed
        self.paho.on_message = self._on_message

    def connect(self) -> Self:
        """Connect and wait for CONNACK or the end of the connection."""
        arguments: dict[str, Any] = {}
        if self.paho.protocol == MQTTProtocolVersion.MQTTv5:
            properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho has no types here
            properties.SessionExpiryInterval = self._session_expiry_s
            arguments = {"clean_start": self._clean_start, "properties": properties}
        self.paho.connect(self._broker.server.host, self._broker.server.port, **arguments)
        self.paho.loop_start()
        wait_until(lambda: self.connect_code is not None or self.closed, describe="CONNACK")
        return self

    def publish(self, topic: str, payload: bytes, *, qos: int = 1, retain: bool = False) -> int:
        """Publish and return the broker's reason code (0 for QoS 0)."""
        info = self.paho.publish(topic, payload, qos=qos, retain=retain)
        if qos == 0:
            return 0
        wait_until(lambda: info.mid in self._acks or self.closed, describe="an acknowledgement")
        return self._acks.get(info.mid, -1)

    def subscribe(self, topic_filter: str, *, qos: int = 1) -> int:
        """Subscribe and return the broker's reason code."""
        _, mid = self.paho.subscribe(topic_filter, qos)
        assert mid is not None
        wait_until(lambda: mid in self._acks or self.closed, describe="an acknowledgement")
        return self._acks.get(mid, -1)

    def payloads(self) -> list[bytes]:
        """What was received so far."""
        return [payload for _, payload in list(self.received)]

    def cut(self) -> None:
        """End the connection as a broken network does, so that the will is published."""
        held = self.paho.socket()
        assert isinstance(held, socket.socket)
        held.shutdown(socket.SHUT_RDWR)
        wait_until(lambda: self.closed, describe="the end of the connection")
        self.stop()

    def stop(self) -> None:
        """Disconnect in an orderly way and free everything."""
        self.hold.set()
        self.paho.disconnect()
        self.paho.loop_stop()
        self.paho.reinitialise()

    def __enter__(self) -> Self:
        return self.connect()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _on_connect(self, _client: object, _data: object, _flags: object, code: Any, _properties: object) -> None:
        self.connect_code = code.value

    def _on_disconnect(self, *_: object) -> None:
        self.closed = True

    def _on_ack(self, _client: object, _data: object, mid: int, code: Any, _properties: object) -> None:
        self._acks[mid] = code.value

    def _on_subscribed(self, _client: object, _data: object, mid: int, codes: list[Any], _properties: object) -> None:
        self._acks[mid] = codes[0].value

    def _on_message(self, _client: object, _data: object, message: paho.MQTTMessage) -> None:
        self.hold.wait(30)
        self.received.append((message.topic, bytes(message.payload)))


def _set_no_delay(_client: object, _data: object, opened: Any) -> None:
    opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
