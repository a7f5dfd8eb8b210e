package ledger

import (
	"fmt"
	"strconv"
)

// Run names a run for all of its life: the workflow id and the run id of its
// first execution, which stays the same through continue-as-new, reset and
// another Temporal.
type Run struct {
	Workflow string `json:"workflow"`
	FirstRun string `json:"first_run"`
}

// String is for people; keys are made by [Run.Prefix].
func (r Run) String() string { return r.Workflow + "/" + r.FirstRun }

// Head is where a chain stands: all that is needed to append to it, and what a
// signature over the ledger covers. Seq 0 with no hash is the empty chain.
type Head struct {
	Run  Run    `json:"run"`
	Seq  int64  `json:"seq"`
	Hash string `json:"hash"`
}

// String is the form in which a head is shown and quoted: "12:9f86…".
func (h Head) String() string { return strconv.FormatInt(h.Seq, 10) + ":" + h.Hash }

// text is what a signature of the head covers: a few lines that say what they
// are. The namespace of the signature is [HeadNamespace].
func (h Head) text() []byte {
	return fmt.Appendf(nil, "Breakwater ledger head, version 1\nworkflow: %s\nfirst run: %s\nentry: %d\nsha256: %s\n",
		strconv.QuoteToASCII(h.Run.Workflow), strconv.QuoteToASCII(h.Run.FirstRun), h.Seq, h.Hash)
}

// Chain appends entries to the ledger of one run. It is plain state, meant to be
// carried through continue-as-new; the zero value with a Run in its head is an
// empty chain.
type Chain struct {
	Head Head `json:"head"`
}

// NewChain returns the empty chain of a run.
func NewChain(run Run) Chain { return Chain{Head: Head{Run: run}} }

// Append puts e at the end of the chain, with its sequence number, the hash of
// the entry before and the run filled in. It returns the bytes to store under
// ChainKey(head.Run, head.Seq) and the new head. On an error the chain stays as
// it was.
func (c *Chain) Append(e Entry) ([]byte, Head, error) {
	e.Seq, e.Prev, e.Run = c.Head.Seq+1, c.Head.Hash, c.Head.Run
	data, err := e.encode()
	if err != nil {
		return nil, c.Head, fmt.Errorf("append to the ledger of %s: %w", c.Head.Run, err)
	}
	c.Head = Head{Run: e.Run, Seq: e.Seq, Hash: Digest(data)}
	return data, c.Head, nil
}
