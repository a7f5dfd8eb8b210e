package faults

import (
	"context"
	"encoding/json"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// swapEntries gives each of the newest two log entries the other's content.
func (t tableAt) swapEntries(ctx context.Context, c *s3.Client) ([]made, error) {
	keys, err := t.keys(ctx, c, t.log(`\d{20}\.json`))
	if err != nil || len(keys) < 2 {
		return nil, err
	}
	keys = keys[len(keys)-2:]
	var bodies [2][]byte
	for i, key := range keys {
		if bodies[i], err = t.get(ctx, c, key); err != nil {
			return nil, err
		}
	}
	first, err := t.put(ctx, c, keys[0], bodies[1])
	if err != nil {
		return first, err
	}
	second, err := t.put(ctx, c, keys[1], bodies[0])
	return append(first, second...), err
}

func (t tableAt) emptyEntry(ctx context.Context, c *s3.Client) ([]made, error) {
	return t.newestEntry(ctx, c, func(kind string, text []byte) []byte {
		if kind == "add" || kind == "remove" {
			return nil
		}
		return text
	})
}

func (t tableAt) changeAuthor(ctx context.Context, c *s3.Client) ([]made, error) {
	return t.newestEntry(ctx, c, func(kind string, text []byte) []byte {
		var line map[string]map[string]any
		if kind != "commitInfo" || json.Unmarshal(text, &line) != nil {
			return text
		}
		line[kind]["userName"] = "somebody else"
		out, err := json.Marshal(line)
		if err != nil {
			return text
		}
		return append(out, '\n')
	})
}
