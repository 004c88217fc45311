# Is this DER a certificate revocation list that is valid now? Reads its first bytes in hex (od -An -v -tx1 -N 4096); needs -v total=BYTES
# -v now=YYYYMMDDhhmmss (UTC).
# Prints the reason and exits 1 when it is not. It walks CertificateList (RFC 5280 section 5.1) down to the two dates; the signature is
# left to OpenSSL, which refuses everybody (fails closed) when that is wrong. The broker image has no openssl command, hence awk.
function refuse(reason) { print reason; exit 1 }
function value(hex) { return (index("0123456789abcdef", substr(hex, 1, 1)) - 1) * 16 + index("0123456789abcdef", substr(hex, 2, 1)) - 1 }
# Opens the element at `at`, which must have this tag: sets `body` (its first byte) and `next_at` (the byte after it).
function open_element(tag, name,    first, length_bytes, size, i) {
    if (octet[at] != tag) refuse("malformed: no " name)
    first = value(octet[at + 1]); body = at + 2; size = first
    if (first >= 128) {
        length_bytes = first - 128; size = 0
        if (length_bytes < 1 || length_bytes > 4) refuse("malformed: length of " name)
        for (i = 0; i < length_bytes; i++) size = size * 256 + value(octet[body++])
    }
    next_at = body + size
    if (next_at > total) refuse("truncated in " name)
}
# Reads the UTCTime or GeneralizedTime at `at` as 14 digits.
function read_time(name,    i, digits, wanted) {
    wanted = octet[at] == "18" ? 15 : 13
    open_element(octet[at] == "18" ? "18" : "17", name)
    digits = ""
    for (i = body; i < next_at - 1; i++) digits = digits substr(octet[i], 2, 1)
    if (next_at - body != wanted || octet[next_at - 1] != "5a" || digits !~ /^[0-9]+$/) refuse("malformed: " name)
    at = next_at
    return wanted == 15 ? digits : (substr(digits, 1, 2) < "50" ? "20" : "19") digits
}
{ for (f = 1; f <= NF; f++) octet[count++] = $f }
END {
    at = 0; open_element("30", "list"); if (next_at != total) refuse("trailing bytes")
    at = body; open_element("30", "signed part"); at = body
    if (octet[at] == "02") { open_element("02", "version"); at = next_at }
    open_element("30", "signature algorithm"); at = next_at
    open_element("30", "issuer"); at = next_at
    this_update = read_time("thisUpdate")
    if (octet[at] != "17" && octet[at] != "18") refuse("no nextUpdate")
    next_update = read_time("nextUpdate")
    # The leading letter keeps awk from comparing as floating-point numbers.
    if ("t" this_update > "t" now) refuse("not valid before " this_update " (UTC); is the clock right?")
    if ("t" next_update <= "t" now) refuse("expired at " next_update " (UTC)")
}
