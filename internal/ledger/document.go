package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"strings"

	"breakwater/internal/sshsig"

	"golang.org/x/crypto/ssh"
)

// DocNamespace is the namespace of signatures of documents.
const DocNamespace = "breakwater-document"

// ErrUnsigned means that a document has no signature.
var ErrUnsigned = errors.New("it has no signature")

// trailerWord begins the line after a document's body.
const trailerWord = "breakwater-signature: "

// SealDoc returns what is stored under key: the body, which ends in a newline, and one
// line more, the trailer, which holds the worker's signature over the key and the body's
// digest. So a body cannot be put under the key of another run, step, item, attempt or
// kind. What names a document ([DocRef]) is about the body alone: who signed it, and when,
// changes no root.
func SealDoc(signer ssh.Signer, key string, body []byte) ([]byte, error) {
	fail := func(err error) ([]byte, error) { return nil, fmt.Errorf("sign document %s: %w", key, err) }
	if !bytes.HasSuffix(body, []byte("\n")) {
		return fail(errors.New("its body does not end in a newline; write it with Encode"))
	}
	if _, trailer := cutTrailer(body); trailer != "" {
		return fail(errors.New("its body ends in a signature already"))
	}
	sig, err := sshsig.Sign(signer, DocNamespace, docText(key, Digest(body)))
	if err != nil {
		return fail(err)
	}
	return fmt.Appendf(bytes.Clone(body), "%s%s\n", trailerWord, sshsig.Line(sig)), nil
}

// DocBody is what is stored under a document's key without its trailer, believed or not: for
// readers who hold its digest against a signed entry.
func DocBody(data []byte) []byte {
	body, _ := cutTrailer(data)
	return body
}

// OpenDoc returns the body of what is stored under key, and which of the trusted keys
// signed it. What has no trailer is [ErrUnsigned]; the other errors are those of
// [sshsig.Verify]. With an error the body is what it claims to be, and no more.
func OpenDoc(key string, data []byte, trusted []sshsig.Key) (body []byte, by sshsig.Key, err error) {
	body, trailer := cutTrailer(data)
	if trailer == "" {
		return body, sshsig.Key{}, ErrUnsigned
	}
	line, ok := strings.CutSuffix(strings.TrimPrefix(trailer, trailerWord), "\n")
	if !ok {
		return body, sshsig.Key{}, fmt.Errorf("%w: its line is cut off", sshsig.ErrMalformed)
	}
	by, err = sshsig.Verify(sshsig.Armour(line), DocNamespace, docText(key, Digest(body)), trusted)
	return body, by, err
}

// cutTrailer cuts the last line off if it is a trailer, whole or not.
func cutTrailer(data []byte) (body []byte, trailer string) {
	start := bytes.LastIndexByte(bytes.TrimSuffix(data, []byte("\n")), '\n') + 1
	if last := data[start:]; bytes.HasPrefix(last, []byte(trailerWord)) {
		return data[:start], string(last)
	}
	return data, ""
}

// docText is what a signature of a document covers.
func docText(key, digest string) []byte {
	return fmt.Appendf(nil, "Breakwater document, version 1\nkey: %q\nsha256: %s\n", key, digest)
}
