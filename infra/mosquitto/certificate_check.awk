# Is this DER a certificate that is valid now (-v now=YYYYMMDDhhmmss, UTC)? Uses der.awk. Prints the reason and exits 1 when it is not.
# -v want=authority: it must be a CA's; prints its subject in hex.
# -v want=server: it must not be a CA's; prints its issuer and its public key in hex. server_of_any_time: whenever it is valid.
# The signature is left to OpenSSL: a forged certificate convinces no client.
END {
    if (refused) exit 1
    at = 0; open_element("30", "certificate"); if (next_at != total) refuse("trailing bytes")
    at = body; open_element("30", "signed part"); at = body; last = next_at
    if (octet[at] == "a0") take_element("a0", "version")
    take_element("02", "serial number")
    take_element("30", "signature algorithm")
    issuer = take_element("30", "issuer")
    open_element("30", "validity"); at = body
    not_before = read_time("notBefore")
    not_after = read_time("notAfter")
    if (want != "server_of_any_time") check_time(not_before, not_after)
    subject = take_element("30", "subject")
    key = take_element("30", "public key")
    rest = ""
    for (; at < last; at++) rest = rest octet[at]
    # basicConstraints (2.5.29.19), critical or not, with CA TRUE
    is_ca = rest ~ /0603551d13(0101ff)?04..30..0101ff/
    if (want == "authority" && !is_ca) refuse("not a CA certificate")
    if (want != "authority" && is_ca) refuse("a CA certificate")
    print want == "authority" ? subject : issuer " " key
}
