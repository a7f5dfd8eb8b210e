package faults

import (
	"bytes"
	"context"
	"fmt"
	"regexp"

	"breakwater/internal/fault"

	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Rewinds are the faults of objects that were brought back: under the prefix of
// the environment's group, in the target's bucket.
func Rewinds(e Env) fault.Set {
	t := tableAt{e.Target.Storage, e.Group.Prefix}
	return fault.Set{
		t.fault("storage.object-overwritten", "an object is overwritten by other bytes of the same length", t.overwritten),
		t.fault("storage.object-deleted", "an object is deleted", t.oneDeleted),
		t.fault("storage.object-appeared", "an object comes that was not there", t.appeared),
	}
}

// firstKey is the first object that is not empty.
func (t tableAt) firstKey(ctx context.Context, c *s3.Client) (string, []byte, error) {
	keys, err := t.keys(ctx, c, regexp.MustCompile(`.`))
	if err != nil {
		return "", nil, err
	}
	for _, key := range keys {
		if body, err := t.get(ctx, c, key); err != nil || len(body) > 0 {
			return key, body, err
		}
	}
	return "", nil, fmt.Errorf("there is no object under %s", t.prefix)
}

func (t tableAt) overwritten(ctx context.Context, c *s3.Client) ([]made, error) {
	key, body, err := t.firstKey(ctx, c)
	if err != nil {
		return nil, err
	}
	other := bytes.Repeat([]byte{body[0] + 1}, len(body))
	return t.put(ctx, c, key, other)
}

func (t tableAt) oneDeleted(ctx context.Context, c *s3.Client) ([]made, error) {
	key, _, err := t.firstKey(ctx, c)
	if err != nil {
		return nil, err
	}
	return t.mark(ctx, c, key)
}

func (t tableAt) appeared(ctx context.Context, c *s3.Client) ([]made, error) {
	return t.put(ctx, c, t.prefix+"/came-from-nowhere", []byte("x"))
}
