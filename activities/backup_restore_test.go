package activities

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/backup"
	"breakwater/internal/objectstore/miniotest"
	"breakwater/internal/verdict"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
)

// overwrite puts garbage over every object of a table, as who holds to ransom does.
func (v *vaulted) overwrite(region, table string) {
	v.t.Helper()
	decl, _, _ := v.estate.Table(table)
	bucket, err := v.estate.RealBucket("lake", region)
	v.must(err)
	for o, err := range v.rootBucket(region).List(v.t.Context(), decl.Path+"/") {
		v.must(err)
		_, err = v.s3[region].PutObject(v.t.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &o.Key, Body: strings.NewReader("pay 3 BTC")})
		v.must(err)
	}
}

// restored plans, applies and verifies table.restore.
func (v *vaulted) restored(table string, with any) (action.Change, []action.Observation) {
	v.t.Helper()
	d := v.action("table.restore")
	r := v.request(d, table)
	raw, err := json.Marshal(with)
	v.must(err)
	ch, err := d.Plan(v.t.Context(), r, raw)
	v.must(err)
	r.Plan = &ch
	_, err = d.Apply(v.t.Context(), r, raw)
	v.must(err)
	obs, err := d.Verify(v.t.Context(), r, raw)
	v.must(err)
	if got := action.Worst(obs); got != verdict.Pass {
		v.t.Errorf("table.restore of %s: %s\n%s", table, got, told(obs))
	}
	return ch, obs
}

func TestRestore(t *testing.T) {
	t.Parallel()
	v := newVaulted(t)
	v.written()
	v.replicate("orders", nil)
	v.take("one")
	v.tick(time.Minute)
	v.append("orders", 7)
	v.append("payments", 3)
	v.take("two")
	wanted := map[string]string{} // the digest of each table's second backup
	for _, name := range []string{"orders", "payments"} {
		wanted[name] = v.truth[name][len(v.truth[name])-1].String()
	}

	t.Run("prove", func(t *testing.T) {
		// What is there is half another table: garbage, missing and later files.
		v.t.Helper()
		d := v.action("table.restore")
		data := v.dataOf("orders", 2)
		_, err := v.s3[west].PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("lake-west"), Key: &data[0], Body: strings.NewReader("garbage")})
		v.must(err)
		_, err = v.s3[west].PutObject(t.Context(), &s3.PutObjectInput{Bucket: aws.String("lake-west"), Key: aws.String(entry("orders/orders", 9)), Body: strings.NewReader("{}\n")})
		v.must(err)
		before := v.everything("orders/orders")
		proveAction(t, d, v.request(d, "orders"), v.faultSet())
		if after := v.everything("orders/orders"); len(after) != len(before) {
			t.Errorf("after undo %d objects, had %d", len(after), len(before))
		}
	})
	t.Run("broken off", func(t *testing.T) {
		d := v.action("table.restore")
		proveHalfway(t, d, v.request(d, "payments"))
	})
	t.Run("by name and by time, beside", func(t *testing.T) {
		v.as("beside")
		ch, _ := v.restored("orders", map[string]any{"manifest": "orders/1", "prefix": "restored/one"})
		if !strings.Contains(ch.Summary, "orders/1") {
			t.Error(ch.Summary)
		}
		cut := v.manifests()[0].Manifest.Cut
		if ch, _ := v.restored("orders", map[string]any{"at": cut.Add(time.Second), "prefix": "restored/then"}); !strings.Contains(ch.Summary, "orders/1") {
			t.Error(ch.Summary)
		}
		for what, with := range map[string]string{
			"of another group": `{"manifest":"clicks/1"}`, "that is not there": `{"manifest":"orders/9"}`, "without a number": `{"manifest":"orders"}`,
		} {
			d := v.action("table.restore")
			if _, err := d.Plan(t.Context(), v.request(d, "orders"), json.RawMessage(with)); !errors.Is(err, action.ErrRefused) {
				t.Errorf("a backup %s: %v, want ErrRefused", what, err)
			}
		}
	})
	t.Run("a damaged newest manifest is stepped over", func(t *testing.T) {
		v.as("older")
		set := v.faultSet()
		for _, name := range []string{"backup.manifest-damaged", "backup.object-of-the-newest-gone"} {
			f, err := set.Find("backup.manifest-damaged")
			v.must(err)
			inject, heal := f.Inject, f.Heal
			if name != "backup.manifest-damaged" {
				inject, heal = v.objectGone(2)
			}
			v.must(inject(t.Context()))
			d := v.action("table.restore")
			ch, err := d.Plan(t.Context(), v.request(d, "orders"), json.RawMessage(`{"prefix":"restored/older"}`))
			if err != nil || !strings.Contains(ch.Summary, "backup orders/1") || !strings.Contains(ch.Summary, "stepped over orders/2") {
				t.Errorf("%s: %s, %v", name, ch.Summary, err)
			}
			if _, err := d.Plan(t.Context(), v.request(d, "orders"), json.RawMessage(`{"manifest":"orders/2"}`)); !errors.Is(err, backup.ErrDamaged) {
				t.Errorf("%s, by name: %v, want ErrDamaged", name, err)
			}
			v.must(heal(t.Context()))
		}
	})
	t.Run("ransom", func(t *testing.T) {
		// Both regions hold garbage in every object of every table; nothing of them is
		// read to bring the tables back.
		v.as("ransom")
		for _, name := range []string{"orders", "payments"} {
			v.overwrite(east, name)
			v.overwrite(west, name)
			stale := "orders/" + name + "/_delta_log/00000000000000000000.00000000000000000001.compacted.json"
			_, err := v.rootBucket(west).Put(t.Context(), stale, []byte("{}\n"))
			v.must(err)
			v.restored(name, map[string]any{})
			log, store := v.log(west, name)
			if all := log.Compactions(); len(all) > 0 {
				t.Errorf("%s is still there: Spark reads it in place of what came back", all[0].Key)
			}
			snap, err := log.Snapshot(t.Context(), log.Head())
			v.must(err)
			rows, hash, err := rowsOf(t.Context(), store, snap)
			v.must(err)
			if got := fmt.Sprintf("%d rows, %s", rows, hash); !strings.Contains(wanted[name], hash) {
				t.Errorf("%s restored: %s, want %s", name, got, wanted[name])
			}
			v.deltaRS(name, int(rows), len(v.truth[name])-1)
		}
	})
}

// manifests are the group's, as the product finds them.
func (v *vaulted) manifests() []backup.Found {
	v.t.Helper()
	b, err := v.systems.backupsOf(v.t.Context(), v.estate, "orders")
	v.must(err)
	return b.all
}

// objectGone loses an object that no backup before the given one names.
func (v *vaulted) objectGone(seq int64) (inject, heal func(context.Context) error) {
	v.t.Helper()
	b, err := v.systems.backupsOf(v.t.Context(), v.estate, "orders")
	v.must(err)
	named := map[string]bool{}
	var lost string
	for _, f := range b.all {
		table, _ := f.Manifest.Table("orders")
		objects, err := b.List(v.t.Context(), table)
		v.must(err)
		for _, o := range objects {
			if !named[o.Copy.Key] && f.Seq == seq {
				lost = o.Copy.Key
			}
			named[o.Copy.Key] = true
		}
	}
	from := filepath.Join(v.server.Folder, "vault", "lakehouse", filepath.FromSlash(lost))
	to := filepath.Join(v.t.TempDir(), "lost")
	return func(context.Context) error { return os.Rename(from, to) }, func(context.Context) error { return os.Rename(to, from) }
}

// deltaRS lets delta-rs read a restored table, which shares no code with us.
func (v *vaulted) deltaRS(name string, rows, version int) {
	v.t.Helper()
	python := os.Getenv("BREAKWATER_PYTHON")
	if python == "" {
		v.t.Log("BREAKWATER_PYTHON is not set: read with our own reader only, not with delta-rs")
		return
	}
	decl, _, _ := v.estate.Table(name)
	const program = `
import json, os, sys
from deltalake import DeltaTable
t = DeltaTable(sys.argv[1], storage_options=json.loads(sys.argv[2]))
print(json.dumps({"version": t.version(), "rows": t.to_pyarrow_table().num_rows}), flush=True)
os._exit(0)  # the library's threads do not always survive the interpreter's own end
`
	options, err := json.Marshal(map[string]string{
		"AWS_ENDPOINT_URL": v.minio[west].Endpoint, "AWS_ACCESS_KEY_ID": miniotest.RootUser, "AWS_SECRET_ACCESS_KEY": miniotest.RootPassword,
		"AWS_REGION": "us-east-1", "AWS_ALLOW_HTTP": "true",
	})
	v.must(err)
	cmd := exec.CommandContext(v.t.Context(), python, "-c", program, "s3://lake-west/"+decl.Path, string(options))
	stderr := &bytes.Buffer{}
	cmd.Stderr = stderr
	out, err := cmd.Output()
	if err != nil {
		v.t.Fatalf("delta-rs cannot read %s: %v: %s", name, err, stderr)
	}
	if got, want := strings.TrimSpace(string(out)), fmt.Sprintf(`{"version": %d, "rows": %d}`, version, rows); got != want {
		v.t.Errorf("delta-rs reads %s of %s, want %s", got, name, want)
	}
}
