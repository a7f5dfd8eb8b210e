package faults

import (
	"bytes"
	"context"
	"encoding/json"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// newestEntry rewrites the newest log entry line by line; an empty answer leaves a
// line out.
func (t tableAt) newestEntry(ctx context.Context, c *s3.Client, line func(kind string, text []byte) []byte) ([]made, error) {
	keys, err := t.keys(ctx, c, t.log(`\d{20}\.json`))
	if err != nil || len(keys) == 0 {
		return nil, err
	}
	last := keys[len(keys)-1]
	body, err := t.get(ctx, c, last)
	if err != nil {
		return nil, err
	}
	var out []byte
	for text := range bytes.Lines(body) {
		var kinds map[string]json.RawMessage
		if err := json.Unmarshal(text, &kinds); err != nil {
			return nil, err
		}
		for kind := range kinds {
			out = append(out, line(kind, text)...)
		}
	}
	if bytes.Equal(out, body) {
		return nil, nil // nothing here to break
	}
	return t.put(ctx, c, last, out)
}

func (t tableAt) forgetVectors(ctx context.Context, c *s3.Client) ([]made, error) {
	return t.newestEntry(ctx, c, func(_ string, text []byte) []byte {
		if bytes.Contains(text, []byte(`"deletionVector"`)) {
			return nil
		}
		return text
	})
}

func (t tableAt) forgetFile(ctx context.Context, c *s3.Client) ([]made, error) {
	last := []byte(nil)
	if _, err := t.newestEntry(ctx, c, func(kind string, text []byte) []byte {
		if kind == "add" {
			last = bytes.Clone(text)
		}
		return text
	}); err != nil {
		return nil, err
	}
	return t.newestEntry(ctx, c, func(_ string, text []byte) []byte {
		if bytes.Equal(text, last) {
			return nil
		}
		return text
	})
}

func (t tableAt) lowerProtocol(ctx context.Context, c *s3.Client) ([]made, error) {
	return t.newestEntry(ctx, c, func(kind string, text []byte) []byte {
		if kind == "protocol" {
			return []byte(`{"protocol":{"minReaderVersion":1,"minWriterVersion":2}}` + "\n")
		}
		return text
	})
}
