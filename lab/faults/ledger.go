package faults

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"breakwater/internal/fault"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// Ledger is where one run's ledger lies.
type Ledger struct {
	Storage Storage // its Bucket is the ledger's
	Chain   string  // what the keys of the run's entries begin with, up to the last slash and with it

	// Sign makes what a signer of the estate keeps of an entry that it vouches for, and
	// under which key of the bucket.
	Sign func(entry []byte) (key string, head []byte, err error)

	// Stop and Start end and bring back the ledger's server, as those of a Region.
	Stop, Start func(context.Context) error
}

// Ledgers are the faults of a run's record.
func Ledgers(l Ledger) fault.Set {
	r := Region{Name: "the ledger"}
	if l.Stop != nil && l.Start != nil {
		r.Stop = func(ctx context.Context, _ System) error { return l.Stop(ctx) }
		r.Start = func(ctx context.Context, _ System) error { return l.Start(ctx) }
	}
	return fault.Set{
		unassigned(l),
		down("ledger.unreachable", "the object store of the ledger is killed", r, StorageSystem),
	}
}

func (l Ledger) signer() string {
	if l.Sign == nil {
		return ""
	}
	return "there"
}

// unassigned continues the run's chain with an obligation that nobody owns, as a step does
// that another one follows.
func unassigned(l Ledger) fault.Fault {
	type version struct{ key, id *string }
	var k, vouched kept[version]
	return fault.Fault{
		Name: "ledger.obligation-unassigned", Doc: "something is left to prove, and nobody owns it",
		Available: needs(with(with(l.Storage.there(), "run's chain", l.Chain), "signer", l.signer())),
		Inject: func(ctx context.Context) error {
			c := l.Storage.s3()
			list, err := c.ListObjectsV2(ctx, &s3.ListObjectsV2Input{Bucket: &l.Storage.Bucket, Prefix: &l.Chain})
			if err != nil {
				return err
			}
			if len(list.Contents) == 0 || aws.ToBool(list.IsTruncated) {
				return fmt.Errorf("%s holds %d entries, of which all must fit one page", l.Chain, len(list.Contents))
			}
			out, err := c.GetObject(ctx, &s3.GetObjectInput{Bucket: &l.Storage.Bucket, Key: list.Contents[len(list.Contents)-1].Key})
			if err != nil {
				return err
			}
			last, err := io.ReadAll(out.Body)
			if err := errors.Join(err, out.Body.Close()); err != nil {
				return err
			}
			var e struct {
				Seq  int64           `json:"seq"`
				Time string          `json:"time"`
				Run  json.RawMessage `json:"run"`
			}
			if err := json.Unmarshal(last, &e); err != nil {
				return err
			}
			// The members of an entry in their order, those of its body by name, and a newline.
			next := fmt.Appendf(nil, `{"seq":%d,"prev":"%x","time":%q,"run":%s,"kind":"obligation","step":"fault","body":`+
				`{"id":"fault","step":"fault","title":"A fault","what":"Find an owner"}}`+"\n", e.Seq+1, sha256.Sum256(last), e.Time, e.Run)
			key := fmt.Sprintf("%s%012d.json", l.Chain, e.Seq+1)
			headKey, head, err := l.Sign(next)
			if err != nil {
				return err
			}
			for _, o := range []struct {
				key  string
				body []byte
				in   *kept[version]
			}{{key, next, &k}, {headKey, head, &vouched}} {
				put, err := c.PutObject(ctx, &s3.PutObjectInput{Bucket: &l.Storage.Bucket, Key: &o.key, Body: bytes.NewReader(o.body), IfNoneMatch: aws.String("*")})
				if err == nil {
					err = o.in.put(version{&o.key, put.VersionId})
				}
				if err != nil {
					return err
				}
			}
			return nil
		},
		Heal: func(ctx context.Context) error {
			away := func(v version) error {
				_, err := l.Storage.s3().DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &l.Storage.Bucket, Key: v.key, VersionId: v.id})
				return err
			}
			return errors.Join(k.heal(away), vouched.heal(away))
		},
	}
}
