"""Every refusal of the protocol: whose fault it is, a stable code, and the offending values.

A code never changes its meaning and is never reused: peers, logs, counters, vectors and people rely on it.
Three families say whose fault an error is:

* `PeerFault`: somebody else sent something that no honest node sends. Refuse it, count it, go on.
* `LocalFault`: our own configuration, key, disk or code is wrong. Say what to do; a retry does not help.
* `TransientFault`: nobody's fault that lasts (broker away, block from slightly ahead of our clock). Retry.
"""

from __future__ import annotations

from enum import StrEnum

Value = str | int | bool
"""What may be attached to an error: plain values that go into logs and replies as they are."""


class Code(StrEnum):
    """Stable error codes of the protocol, grouped by what was refused."""

    # encoding
    NOT_JSON = "not_json"
    NOT_CANONICAL = "not_canonical"
    WRONG_SHAPE = "wrong_shape"
    TOO_LARGE = "too_large"
    # keys and signatures
    BAD_KEY = "bad_key"
    BAD_SIGNATURE = "bad_signature"
    # frames and topics
    BAD_TOPIC = "bad_topic"
    BAD_FRAME = "bad_frame"
    FRAME_FOREIGN_SENDER = "frame_foreign_sender"
    FRAME_UNKNOWN_SENDER = "frame_unknown_sender"
    FRAME_UNKNOWN_KEY = "frame_unknown_key"
    FRAME_UNSEALABLE = "frame_unsealable"
    FRAME_REPLAYED = "frame_replayed"
    SENDER_KEY_STALE = "sender_key_stale"
    UNKNOWN_TYPE = "unknown_type"
    RATE_LIMITED = "rate_limited"
    # identifiers, genesis, enrolment
    BAD_MEMBER_ID = "bad_member_id"
    BAD_GENESIS = "bad_genesis"
    BAD_ENROLMENT = "bad_enrolment"
    CONSENT_MISSING = "consent_missing"
    TOKEN_UNKNOWN = "token_unknown"  # noqa: S105 - a code
    TOKEN_EXPIRED = "token_expired"  # noqa: S105 - a code
    TOKEN_USED = "token_used"  # noqa: S105 - a code
    CA_MISMATCH = "ca_mismatch"
    TLS_INTERCEPTED = "tls_intercepted"
    CLOCK_OFFSET = "clock_offset"
    WRONG_NETWORK = "wrong_network"
    CA_BUNDLE_OLD = "ca_bundle_old"
    # transactions
    TX_DUPLICATE = "tx_duplicate"
    TX_EXPIRED = "tx_expired"
    TX_EXPIRY_TOO_FAR = "tx_expiry_too_far"
    TX_WRONG_SENDER = "tx_wrong_sender"
    MEMBER_EXISTS = "member_exists"
    MEMBER_UNKNOWN = "member_unknown"
    MEMBER_REVOKED = "member_revoked"
    MEMBER_LEFT = "member_left"
    MEMBER_ACTIVE = "member_active"
    OPERATOR_MEMBER = "operator_member"
    MEMBER_SUSPENDED = "member_suspended"
    MEMBER_NOT_SUSPENDED = "member_not_suspended"
    BAD_CONSENT = "bad_consent"
    RECOVERY_PENDING = "recovery_pending"
    RECOVERY_UNKNOWN = "recovery_unknown"
    WALLET_WAITS = "wallet_waits"
    KEY_REUSED = "key_reused"
    # parameters and authority
    PARAMETER_UNKNOWN = "parameter_unknown"
    PARAMETER_FIXED = "parameter_fixed"
    PARAMETER_VALUE = "parameter_value"
    PARAMETERS_NOTICE = "parameters_notice"
    PARAMETERS_EMPTY = "parameters_empty"
    PARAMETERS_LIMIT = "parameters_limit"
    RULE_VERSION_ORDER = "rule_version_order"
    AUTHORITY_NOT_CURRENT = "authority_not_current"
    AUTHORITY_APPROVALS = "authority_approvals"
    # metering and market
    METER_EXISTS = "meter_exists"
    METER_UNKNOWN = "meter_unknown"
    CHANNEL_UNKNOWN = "channel_unknown"
    CHANNEL_TWICE = "channel_twice"
    STATEMENT_GAP = "statement_gap"
    STATEMENT_OVERLAP = "statement_overlap"
    STATEMENT_FUTURE = "statement_future"
    STATEMENT_ORDER = "statement_order"
    STATEMENT_RATED_POWER = "statement_rated_power"
    LOT_UNKNOWN = "lot_unknown"
    LOT_NOT_OWNED = "lot_not_owned"
    LOT_OFFERED = "lot_offered"
    LOT_TWICE = "lot_twice"
    LOT_TOO_LARGE = "lot_too_large"
    ORDER_UNKNOWN = "order_unknown"
    ORDER_NOT_OWNED = "order_not_owned"
    ORDER_EXPIRED = "order_expired"
    ORDER_TOO_SMALL = "order_too_small"
    ORDER_TOO_LARGE = "order_too_large"
    ORDER_LIMIT = "order_limit"
    RETIRE_CLAIM = "retire_claim"
    BILL_NOT_FINAL = "bill_not_final"
    PAYMENT_TOO_LARGE = "payment_too_large"
    ORDER_CLEARED = "order_cleared"
    CREDIT_LIMIT = "credit_limit"
    # mempool
    POOL_FULL = "pool_full"
    POOL_SHARE = "pool_share"
    POOL_CONFLICT = "pool_conflict"
    # blocks
    BLOCK_VERSION = "block_version"
    BLOCK_HEIGHT = "block_height"
    BLOCK_UNKNOWN_PARENT = "block_unknown_parent"
    BLOCK_INVALID_PARENT = "block_invalid_parent"
    BLOCK_KNOWN_INVALID = "block_known_invalid"
    BLOCK_TIME_TOO_OLD = "block_time_too_old"
    BLOCK_TIME_TOO_NEW = "block_time_too_new"
    BLOCK_DIFFICULTY = "block_difficulty"
    BLOCK_WORK = "block_work"
    BLOCK_TX_ROOT = "block_tx_root"
    BLOCK_VOTES_ROOT = "block_votes_root"
    BLOCK_TX_ORDER = "block_tx_order"
    BLOCK_TX_COUNT = "block_tx_count"
    BLOCK_MINER_UNKNOWN = "block_miner_unknown"
    BLOCK_MINER_TOO_SOON = "block_miner_too_soon"
    BLOCK_SIGNATURE = "block_signature"
    BLOCK_VOTE_ORDER = "block_vote_order"
    BLOCK_BEFORE_FINAL = "block_before_final"
    # votes
    VOTE_TARGET = "vote_target"
    VOTE_SOURCE = "vote_source"
    VOTE_TWICE = "vote_twice"
    VOTE_NOT_VOTER = "vote_not_voter"
    # proofs for outsiders
    PROOF_INCOMPLETE = "proof_incomplete"
    PROOF_PATH = "proof_path"
    PROOF_NOT_FINAL = "proof_not_final"
    BILL_WRONG = "bill_wrong"
    TRADE_WRONG = "trade_wrong"
    LOT_WRONG = "lot_wrong"
    STATEMENT_WRONG = "statement_wrong"
    READINGS_WRONG = "readings_wrong"
    FRAME_WRONG = "frame_wrong"
    MAP_UNKNOWN = "map_unknown"
    # work in progress
    TEMPLATE_STALE = "template_stale"
    ABANDONED_CLAIM = "abandoned_claim"
    NOT_FOUND = "not_found"
    NOT_AUTHORISED = "not_authorised"
    # our own side
    BAD_SETTINGS = "bad_settings"
    BAD_SUBSTITUTION = "bad_substitution"
    BAD_KEY_FILE = "bad_key_file"
    BAD_ACCOUNT = "bad_account"
    BUS_REFUSED = "bus_refused"
    BUS_DENIED = "bus_denied"
    PAYLOAD_TOO_LARGE = "payload_too_large"
    SCHEMA_VERSION = "schema_version"
    SOFTWARE_TOO_OLD = "software_too_old"
    AUDIT_MISMATCH = "audit_mismatch"
    BAD_CHAIN_FILE = "bad_chain_file"
    BAD_ARCHIVE = "bad_archive"
    GRAFANA_REFUSED = "grafana_refused"
    GRAFANA_NOT_ISOLATED = "grafana_not_isolated"
    BAD_BACKUP = "bad_backup"
    NOT_EMPTY = "not_empty"
    INTERNAL = "internal"
    # passing trouble
    BUS_OFFLINE = "bus_offline"
    TIMEOUT = "timeout"
    DATABASE_AWAY = "database_away"
    GRAFANA_AWAY = "grafana_away"
    NOT_READY = "not_ready"
    PEER_UNREACHABLE = "peer_unreachable"
    DISK_LOW = "disk_low"


class MinervasError(Exception):
    """Base of all expected errors.

    Attributes:
        code: stable machine-readable reason.
        message: one sentence for a person, without the values.
        values: the offending values, by name.
    """

    def __init__(self, code: Code, message: str, **values: Value) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.values = values

    def __str__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.values.items())
        return f"{self.code}: {self.message}" + (f" ({shown})" if shown else "")


class PeerFault(MinervasError):
    """The other side sent something that no honest participant sends."""


class LocalFault(MinervasError):
    """Our own settings, keys, storage or code are wrong; a retry does not help."""


class TransientFault(MinervasError):
    """Passing trouble; the same thing may work later."""


class InvalidEncoding(PeerFault):
    """Bytes that are not canonical, not of the expected shape, or too many."""


class InvalidFrame(PeerFault):
    """A bus frame that must not be opened or acted on."""


class InvalidTransaction(PeerFault):
    """A transaction that no block may contain, or not at this point of the chain."""


class InvalidProof(PeerFault):
    """A proof that does not show what it claims."""


class InvalidVote(PeerFault):
    """A vote that no block of this chain may carry."""


class InvalidBlock(PeerFault):
    """A block that can never be part of the chain."""


class InvalidEnrolment(PeerFault):
    """An application for membership that must be refused."""


class BlockFromTheFuture(TransientFault):
    """A block whose time is too far ahead of our clock: kept aside, not refused for ever (design section 5)."""
