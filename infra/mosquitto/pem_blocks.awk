# Writes the base64 text of each PEM block of a file to OUT.1, OUT.2, ... (-v out=OUT). All must be of one kind (-v kind='X509 CRL'), and
# nothing may stand between them. Prints the reason and exits 1 when it is otherwise.
function refuse(reason) { print reason; failed = 1; exit 1 }
/^-----BEGIN / {
    if (inside || $0 != "-----BEGIN " kind "-----") refuse("not a PEM file of kind " kind)
    if (++count > 4) refuse("more than 4 PEM blocks")
    inside = 1; printf "" > (out "." count); next
}
/^-----END / {
    if (!inside || $0 != "-----END " kind "-----") refuse("not a PEM file of kind " kind)
    inside = 0; close(out "." count); next
}
inside { print > (out "." count); next }
{ refuse("not a PEM file of kind " kind) }
END { if (!failed && (inside || !count)) { print "not a PEM file of kind " kind; exit 1 } if (failed) exit 1 }
