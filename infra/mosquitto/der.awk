# Reading DER (X.690) in hex, as `od -An -v -tx1 -N 8192` prints it; needs -v total=BYTES. The program that uses it comes after it (-f der.awk -f ...) and
# has the END rule. The broker image has no openssl command, hence awk.
function refuse(reason) { print reason; refused = 1; exit 1 }
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
# Skips the element at `at`, and returns all its bytes in hex.
function take_element(tag, name,    from, text) {
    open_element(tag, name)
    text = ""
    for (from = at; from < next_at; from++) text = text octet[from]
    at = next_at
    return text
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
# The leading letter keeps awk from comparing as floating-point numbers.
function check_time(not_before, not_after) {
    if ("t" not_before > "t" now) refuse("not valid before " not_before " (UTC); is the clock right?")
    if ("t" not_after <= "t" now) refuse("expired at " not_after " (UTC)")
}
{ for (f = 1; f <= NF; f++) octet[count++] = $f }
