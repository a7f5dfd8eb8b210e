package ledger

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"

	"breakwater/internal/sshsig"

	"golang.org/x/crypto/ssh"
)

// HeadNamespace is the namespace of signatures of heads.
const HeadNamespace = "breakwater-ledger-head"

// SignedHead is a head with a signature over its text.
type SignedHead struct {
	Head      Head   `json:"head"`
	Signature string `json:"signature"` // armoured, as ssh-keygen -Y sign makes it
}

// SignHead signs a head with the worker's key. The empty chain has nothing to
// sign.
func SignHead(signer ssh.Signer, h Head) (SignedHead, error) {
	if h.Seq < 1 || h.Hash == "" {
		return SignedHead{}, fmt.Errorf("sign the ledger head of %s: nothing has been appended yet", h.Run)
	}
	sig, err := sshsig.Sign(signer, HeadNamespace, h.text())
	if err != nil {
		return SignedHead{}, fmt.Errorf("sign the ledger head of %s at entry %d: %w", h.Run, h.Seq, err)
	}
	return SignedHead{Head: h, Signature: sig}, nil
}

// Bytes is what is stored under [HeadKey]: the text and the signature after it.
// Cut at the BEGIN line, the two parts are what ssh-keygen -Y verify wants.
func (s SignedHead) Bytes() []byte { return append(s.Head.text(), s.Signature...) }

// ParseSignedHead is the inverse of [SignedHead.Bytes]. It verifies nothing.
func ParseSignedHead(data []byte) (SignedHead, error) {
	text, sig, ok := bytes.Cut(data, []byte("-----BEGIN"))
	if !ok {
		return SignedHead{}, errors.New("parse signed ledger head: there is no signature in it")
	}
	s := SignedHead{Signature: "-----BEGIN" + string(sig)}
	for line := range strings.Lines(string(text)) {
		name, value, _ := strings.Cut(strings.TrimSuffix(line, "\n"), ": ")
		var err error
		switch name {
		case "workflow":
			s.Head.Run.Workflow, err = strconv.Unquote(value)
		case "first run":
			s.Head.Run.FirstRun, err = strconv.Unquote(value)
		case "entry":
			s.Head.Seq, err = strconv.ParseInt(value, 10, 64)
		case "sha256":
			s.Head.Hash = value
		}
		if err != nil {
			return SignedHead{}, fmt.Errorf("parse signed ledger head: line %q: %w", line, err)
		}
	}
	if !bytes.Equal(s.Head.text(), text) {
		return SignedHead{}, errors.New("parse signed ledger head: its text is not the text of a head")
	}
	return s, nil
}

// Verify returns which of the trusted keys signed the head; the errors are those
// of [sshsig.Verify].
func (s SignedHead) Verify(trusted []sshsig.Key) (sshsig.Key, error) {
	return sshsig.Verify(s.Signature, HeadNamespace, s.Head.text(), trusted)
}
