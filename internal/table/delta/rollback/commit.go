package rollback

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"strconv"

	"breakwater/internal/reach"
	"breakwater/internal/table"
	"breakwater/internal/table/delta"
)

// Store is what a commit needs beyond reading. PutIfAbsent answers
// [fs.ErrExist] where the key is taken, also by these very bytes.
type Store interface {
	table.Store
	PutIfAbsent(ctx context.Context, key string, body []byte) error
}

// MarkOf reads the mark of a commit, which lies in its commitInfo under
// "breakwater"; false where another writer made it.
func MarkOf(info json.RawMessage) (table.Mark, bool) {
	var c struct {
		Mark *table.Mark `json:"breakwater"`
	}
	if json.Unmarshal(info, &c) != nil || c.Mark == nil || c.Mark.Token == "" {
		return table.Mark{}, false
	}
	return *c.Mark, true
}

// Find looks for the commit that an earlier attempt with the same token made
// right above a head. It answers [fs.ErrNotExist] where nobody made one there, and
// [ErrMoved] where somebody else did.
func Find(ctx context.Context, store table.Store, root table.Root, head int64, token string) (table.Mark, error) {
	key := delta.CommitKey(root, head+1)
	body, err := store.Get(ctx, key)
	if err != nil {
		return table.Mark{}, fmt.Errorf("look for version %d of delta table %s: %w", head+1, root, reach.Mark(err))
	}
	for line := range bytes.Lines(body) {
		var a struct {
			Info json.RawMessage `json:"commitInfo"`
		}
		if json.Unmarshal(line, &a) != nil || a.Info == nil {
			continue
		}
		if m, ok := MarkOf(a.Info); ok && m.Token == token {
			return m, nil
		}
	}
	return table.Mark{}, fmt.Errorf("version %d of delta table %s was committed by somebody else: %w", head+1, root, ErrMoved)
}

// Commit writes the plan's commit right above the head that was planned against,
// and returns its version. Called again with the same token, it finds its first
// commit and writes nothing. [ErrMoved] means that another commit is there.
// An error of [reach] leaves open whether the commit was made: call again.
func (p *Plan) Commit(ctx context.Context, store Store, st table.Stamp) (version int64, wrote bool, err error) {
	version = p.Head.Number + 1
	fail := func(doing string, err error) (int64, bool, error) {
		return -1, false, fmt.Errorf("restore delta table %s to version %d: %s: %w", p.Root, p.Target.Number, doing, err)
	}
	if st.Token == "" {
		return fail("commit", errors.New("a commit needs a token"))
	}
	switch _, err := Find(ctx, store, p.Root, p.Head.Number, st.Token); {
	case err == nil:
		return version, false, nil
	case !errors.Is(err, fs.ErrNotExist) || reach.Unreachable(err):
		return fail("look for an earlier attempt", err)
	}
	l, err := delta.Open(ctx, store, p.Root)
	if err != nil {
		return fail("read its head", err)
	}
	if head := l.Head(); head != p.Head.Number {
		return fail(fmt.Sprintf("its head is version %d, planned against %d", head, p.Head.Number), ErrMoved)
	}
	body, err := p.body(st)
	if err != nil {
		return fail("encode the commit", err)
	}
	put := store.PutIfAbsent(ctx, delta.CommitKey(p.Root, version), body)
	if put == nil {
		return version, true, nil
	}
	// The answer may be lost, or be that of our own first request which the
	// client sent twice: what is there now decides (trap 29).
	if _, err := Find(ctx, store, p.Root, p.Head.Number, st.Token); err == nil {
		return version, true, nil
	} else if errors.Is(err, ErrMoved) {
		return fail("commit", err)
	}
	return fail("commit", reach.Mark(put))
}

// body is the commit: commitInfo first, as in-commit timestamps demand.
func (p *Plan) body(st table.Stamp) ([]byte, error) {
	var b bytes.Buffer
	at := st.Now.UnixMilli()
	info := map[string]any{
		"operation": operation, "operationParameters": map[string]any{"version": p.Target.Number, "timestamp": nil},
		"readVersion": p.Head.Number, "isolationLevel": "Serializable", "isBlindAppend": false,
		"operationMetrics": operationMetrics(p.Metrics), "engineInfo": "breakwater", "txnId": txnID(st.Token),
		"breakwater": table.Mark{Token: st.Token, Run: st.Run, Plan: p.Digest, Target: p.Target.Number, Bad: p.Head.Number, Kept: p.Replays},
	}
	if p.preserved {
		info["tags"] = map[string]string{"delta.rowTracking.preserved": "true"}
	}
	metadata := p.metadata
	if on, last := p.inCommit(); on {
		at = max(at, last+1)
		info["inCommitTimestamp"] = at
		if p.enablesICT {
			var err error
			if metadata, err = p.enabling(at); err != nil {
				return nil, err
			}
		}
	}
	info["timestamp"] = at
	err := p.write(&b, info, metadata, func(r removal) removal {
		r = maps.Clone(r)
		r["deletionTimestamp"] = json.RawMessage(strconv.FormatInt(at, 10))
		return r
	})
	return b.Bytes(), err
}

// enabling is the metadata with the provenance of in-commit timestamps that the
// protocol asks of the commit that turns them on.
func (p *Plan) enabling(at int64) (map[string]json.RawMessage, error) {
	conf := p.Configuration()
	conf[ictVersion], conf[ictTime] = strconv.FormatInt(p.Head.Number+1, 10), strconv.FormatInt(at, 10)
	raw, err := encode(conf)
	metadata := maps.Clone(p.metadata)
	metadata["configuration"] = raw
	return metadata, err
}

// write writes the actions, one a line.
func (p *Plan) write(to io.Writer, info any, metadata map[string]json.RawMessage, timed func(removal) removal) error {
	enc := json.NewEncoder(to)
	enc.SetEscapeHTML(false)
	action := func(kind string, v any) error { return enc.Encode(map[string]any{kind: v}) }
	err := errors.Join(action("commitInfo", info), action("protocol", json.RawMessage(p.protocol)), action("metaData", metadata))
	for _, d := range p.domains {
		err = errors.Join(err, action("domainMetadata", d))
	}
	if err != nil {
		return err
	}
	for _, r := range p.removes {
		if err := action("remove", timed(r)); err != nil {
			return err
		}
	}
	var line []byte
	for _, a := range p.adds {
		line = append(append(append(line[:0], `{"add":`...), a.body...), "}\n"...)
		if _, err := to.Write(line); err != nil {
			return err
		}
	}
	return nil
}

// digest sums up everything that does not change from one attempt to the next.
func (p *Plan) digest() (string, error) {
	h := sha256.New()
	of := []any{p.Root, p.Head.Number, p.Target.Number, p.enablesICT}
	if len(p.Replays) > 0 {
		of = append(of, p.Replays)
	}
	err := p.write(h, of, p.metadata, func(r removal) removal { return r })
	return hex.EncodeToString(h.Sum(nil)), err
}

// operationMetrics are the metrics as RESTORE's are named.
func operationMetrics(m table.Metrics) map[string]string {
	text := func(n int64) string { return strconv.FormatInt(n, 10) }
	return map[string]string{
		"numRestoredFiles": text(int64(m.Restored)), "restoredFilesSize": text(m.RestoredBytes),
		"numRemovedFiles": text(int64(m.Removed)), "removedFilesSize": text(m.RemovedBytes),
		"numOfFilesAfterRestore": text(int64(m.FilesAfter)), "tableSizeAfterRestore": text(m.BytesAfter),
	}
}

// txnID is a UUID that follows from the token.
func txnID(token string) string {
	b := sha256.Sum256([]byte(token))
	b[6], b[8] = b[6]&0x0f|0x50, b[8]&0x3f|0x80
	return fmt.Sprintf("%x-%x-%x-%x-%x", b[:4], b[4:6], b[6:8], b[8:10], b[10:16])
}
