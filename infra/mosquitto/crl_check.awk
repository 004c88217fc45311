# Is this DER a certificate revocation list that is valid now (-v now=YYYYMMDDhhmmss, UTC)? Prints its issuer in hex, or the reason and exits 1.
# Uses der.awk. It walks CertificateList (RFC 5280 section 5.1) down to the two dates; the signature is left to OpenSSL, which refuses
# everybody (fails closed) when that is wrong.
END {
    if (refused) exit 1
    at = 0; open_element("30", "list"); if (next_at != total) refuse("trailing bytes")
    at = body; open_element("30", "signed part"); at = body
    if (octet[at] == "02") take_element("02", "version")
    take_element("30", "signature algorithm")
    issuer = take_element("30", "issuer")
    this_update = read_time("thisUpdate")
    if (octet[at] != "17" && octet[at] != "18") refuse("no nextUpdate")
    check_time(this_update, read_time("nextUpdate"))
    print issuer
}
