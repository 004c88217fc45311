"""The words on documents, in English and Korean."""

from __future__ import annotations

from collections.abc import Mapping

LANGUAGES = ("en", "ko")

TEXTS: Mapping[str, Mapping[str, str]] = {
    "bill": {"en": "Energy bill", "ko": "전력 거래 청구서"},
    "preview": {"en": "Preview", "ko": "미리보기"},
    "preview_note": {
        "en": "Preview: the month is not over or not final yet. Numbers can still change; there is no bill number.",
        "ko": "미리보기: 해당 월이 끝나지 않았거나 아직 확정되지 않았습니다. "
        "금액이 바뀔 수 있으며 청구서 번호가 없습니다.",
    },
    "not_tax_invoice": {
        "en": "This is not a tax invoice. It states what two members owe each other by the blocks of their consortium.",
        "ko": "이 문서는 세금계산서가 아닙니다. 컨소시엄 블록에 기록된 회원 간 거래 금액을 알려 드리는 문서입니다.",
    },
    "rounding_note": {
        "en": "Amounts are exact; only the total is rounded, once, to the smallest unit of the currency, half to even.",
        "ko": "각 금액은 정확한 값이며, 합계만 통화의 최소 단위로 한 번 반올림합니다(오사오입, 짝수 방향).",
    },
    "missing_note": {
        "en": "{missing} of {all} readings behind this energy are missing. Nothing was billed for them: energy is the "
        "difference of two register readings that were measured.",
        "ko": "이 전력량의 근거가 되는 측정값 {all}건 중 {missing}건이 누락되었습니다. "
        "누락된 값에는 요금이 부과되지 않습니다. "
        "전력량은 실제로 측정된 두 적산값의 차이입니다.",
    },
    "substituted_note": {
        "en": "{count} of the readings are substituted: somebody read the meter by hand where nothing was measured.",
        "ko": "측정값 중 {count}건은 대체값입니다. 측정할 수 없어 사람이 계량기를 직접 읽은 값입니다.",
    },
    "complete_note": {
        "en": "None of the {all} readings behind this energy is missing.",
        "ko": "이 전력량의 근거가 되는 측정값 {all}건 중 누락된 값이 없습니다.",
    },
    "registration_note": {
        "en": "Registration numbers never go on chain and are not known to the other member's node; they are blank "
        "unless the party who printed this entered them.",
        "ko": "등록번호는 블록체인에 기록되지 않으며 상대 회원의 노드가 알 수 없습니다. "
        "출력한 쪽이 입력하지 않으면 비워 둡니다.",
    },
    "number": {"en": "Number", "ko": "번호"},
    "seller": {"en": "Seller", "ko": "판매자"},
    "buyer": {"en": "Buyer", "ko": "구매자"},
    "member": {"en": "Member", "ko": "회원"},
    "name": {"en": "Name", "ko": "상호"},
    "registration": {"en": "Registration no.", "ko": "등록번호"},
    "month": {"en": "Month", "ko": "청구 월"},
    "period": {"en": "Period", "ko": "기간"},
    "blocks": {"en": "Blocks", "ko": "블록"},
    "consortium": {"en": "Consortium", "ko": "컨소시엄"},
    "line": {"en": "Line", "ko": "항목"},
    "time": {"en": "Time of block", "ko": "블록 시각"},
    "trade": {"en": "Trade", "ko": "거래"},
    "energy": {"en": "kWh", "ko": "전력량(kWh)"},
    "price": {"en": "per kWh", "ko": "단가(/kWh)"},
    "amount": {"en": "Amount", "ko": "금액"},
    "quality": {"en": "Readings", "ko": "측정값"},
    "missing": {"en": "{count} missing", "ko": "{count}건 누락"},
    "substituted": {"en": "{count} by hand", "ko": "{count}건 대체"},
    "measured": {"en": "complete", "ko": "정상"},
    "net": {"en": "Sum", "ko": "공급가액"},
    "tax": {"en": "Tax {rate} %", "ko": "세금 {rate} %"},
    "rounding": {"en": "Rounding", "ko": "단수 조정"},
    "total": {"en": "Total", "ko": "합계"},
    "paid": {"en": "Paid", "ko": "납부액"},
    "credited": {"en": "Credit notes", "ko": "대변 전표"},
    "open": {"en": "Open", "ko": "미납액"},
    "hash": {"en": "Hash of this bill", "ko": "청구서 해시"},
    "statement": {"en": "Monthly statement", "ko": "월별 명세서"},
    "produced": {"en": "Produced", "ko": "생산"},
    "sold": {"en": "Sold", "ko": "판매"},
    "revenue": {"en": "Revenue, without tax", "ko": "판매 수입(세전)"},
    "bought": {"en": "Bought", "ko": "구매"},
    "cost": {"en": "Cost, without tax", "ko": "구매 비용(세전)"},
    "retired": {"en": "Claimed as used", "ko": "사용 처리"},
    "own_use": {"en": "of that, own production", "ko": "그중 자체 생산분"},
    "unsold": {"en": "Own production unsold at the end", "ko": "월말 미판매 자체 생산분"},
    "fee": {"en": "Consortium's fee", "ko": "컨소시엄 수수료"},
    "reward": {"en": "Rewards earned ({blocks} blocks)", "ko": "채굴 보상({blocks}블록)"},
    "share": {"en": "Share of all rewards", "ko": "보상 분담금"},
    "due": {"en": "To the consortium (minus: from it)", "ko": "컨소시엄 정산액(-: 수령)"},
    "certificate": {"en": "Certificate of origin", "ko": "원산지 증명서"},
    "owner": {"en": "Used by", "ko": "사용자"},
    "meter": {"en": "Meter / channel", "ko": "계량기 / 채널"},
    "metered": {"en": "Metered", "ko": "계량 기간"},
    "readings_missing": {"en": "missing", "ko": "누락"},
    "retirement": {"en": "Retirement", "ko": "사용 처리 거래"},
    "block": {"en": "Block", "ko": "블록"},
    "final": {"en": "Final checkpoint", "ko": "확정 체크포인트"},
    "voters": {"en": "Voted by", "ko": "투표 회원"},
    "path": {"en": "Merkle path", "ko": "머클 경로"},
    "certificate_note": {
        "en": "Anybody can check the file that belongs to this page without any node: minervas verify FILE --genesis "
        "genesis.json. It proves what a registered gateway key stated, not that the meter was honest.",
        "ko": "이 문서에 딸린 파일은 노드 없이 누구나 확인할 수 있습니다: minervas verify FILE --genesis genesis.json. "
        "등록된 게이트웨이 키가 서명한 내용을 증명하며, 계량기 자체의 정확성을 증명하지는 않습니다.",
    },
    "more_lines": {"en": "and {count} more; the file has them all", "ko": "외 {count}건(파일에 전부 있음)"},
    "page": {"en": "Page {page} of {pages}", "ko": "{pages}쪽 중 {page}쪽"},
}


def say(key: str, language: str, **values: object) -> str:
    """A text in a language."""
    return TEXTS[key][language].format(**values)


def quality(substituted: int, missing: int, language: str) -> str:
    """How good the readings behind a line are."""
    parts = [say("missing", language, count=missing)] if missing else []
    parts += [say("substituted", language, count=substituted)] if substituted else []
    return ", ".join(parts) or say("measured", language)
