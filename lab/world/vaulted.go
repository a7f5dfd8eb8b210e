package world

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/backup"
	"breakwater/internal/estate"
	"breakwater/internal/fault"
	"breakwater/internal/lake"
	"breakwater/internal/poll"
	"breakwater/internal/sshsig"
	"breakwater/internal/verdict"
	"breakwater/lab/faults"
	"breakwater/lab/prove"
	"breakwater/lab/server/miniotest"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/aws/aws-sdk-go-v2/service/s3/types"
	"github.com/minio/madmin-go/v3"
)

// BatchedKeys are the keys below the group's backups that batches wrote.
func (v *Vaulted) BatchedKeys() map[string]int {
	v.T.Helper()
	keys := v.Stored()
	for k := range keys {
		if !strings.Contains(k, "/batch/") {
			delete(keys, k)
		}
	}
	return keys
}

// PlannedBackup plans a backup of the group orders.
func (v *Vaulted) PlannedBackup() (*action.Definition, action.Request) {
	v.T.Helper()
	d := v.Lake.World.Action("backup.take")
	r := v.Request(d, "orders")
	ch, err := d.Plan(v.T.Context(), r, nil)
	v.Must(err)
	r.Plan = &ch
	return d, r
}

// InDays is a day, of which tests let many pass.
const InDays = 24 * time.Hour

// BackedUp takes five backups of the group orders: two that are kept for 35 days,
// one that begins a generation of its own, and two for 70 days that share with it.
func (v *Vaulted) BackedUp() {
	v.T.Helper()
	v.Written()
	v.Take("one")
	v.Append("orders", 5)
	v.Take("two")
	v.Estate.Backup.FullEvery = 1
	v.Append("payments", 5)
	v.Take("three")
	v.Estate.Backup.FullEvery, v.Estate.Backup.Retention = 0, estate.Duration(70*InDays)
	v.Append("orders", 6)
	v.Take("four")
	v.Append("orders", 8)
	v.Take("five")
}

// Verified notes of the newest backup that it was restored.
func (v *Vaulted) Verified() {
	v.T.Helper()
	d := v.Lake.World.Action("backup.restorable")
	r := v.Request(d, "orders")
	v.Act(d, &r, nil)
}

// Pass lets time pass, for a run that begins after it: what would be held no more
// by then is held for a second longer.
func (v *Vaulted) Pass(t time.Duration) {
	v.T.Helper()
	v.Run.Started = time.Now().Add(t).UTC()
	var held []types.ObjectVersion
	for _, o := range v.Versions() {
		head, err := v.Store.HeadObject(v.T.Context(), &s3.HeadObjectInput{Bucket: aws.String("vault"), Key: o.Key, VersionId: o.VersionId})
		v.Must(err)
		if head.ObjectLockRetainUntilDate == nil || head.ObjectLockRetainUntilDate.After(v.Run.Started) {
			continue
		}
		v.shorten(o)
		held = append(held, o)
	}
	for _, o := range held {
		v.Ended(aws.ToString(o.Key), aws.ToString(o.VersionId))
	}
}

// shorten lets the lock of a version end as soon as the store lets it, which wants a
// whole second in the future by the time that it is asked.
func (v *Vaulted) shorten(o types.ObjectVersion) {
	v.T.Helper()
	var err error
	for ahead := 1500 * time.Millisecond; ahead < 30*time.Second; ahead *= 2 {
		_, err = v.Store.PutObjectRetention(v.T.Context(), &s3.PutObjectRetentionInput{
			Bucket: aws.String("vault"), Key: o.Key, VersionId: o.VersionId, BypassGovernanceRetention: aws.Bool(true),
			Retention: &types.ObjectLockRetention{Mode: types.ObjectLockRetentionModeGovernance, RetainUntilDate: aws.Time(time.Now().Add(ahead))},
		})
		if err == nil {
			return
		}
	}
	v.Must(err)
}

// Ended waits until the lock of a version, the newest one of a key if no version is
// given, has ended by what the store says of it: the store keeps whole seconds.
func (v *Vaulted) Ended(key, version string) {
	v.T.Helper()
	in := &s3.HeadObjectInput{Bucket: aws.String("vault"), Key: &key}
	if version != "" {
		in.VersionId = &version
	}
	v.Must(poll.Until(v.T.Context(), 50*time.Millisecond, func(ctx context.Context) (bool, error) {
		head, err := v.Store.HeadObject(ctx, in)
		return err != nil || time.Now().After(aws.ToTime(head.ObjectLockRetainUntilDate)), err
	}))
}

// Versions are all that lie in the group's folder.
func (v *Vaulted) Versions() []types.ObjectVersion {
	v.T.Helper()
	out, err := v.Store.ListObjectVersions(v.T.Context(), &s3.ListObjectVersionsInput{Bucket: aws.String("vault"), Prefix: aws.String("lakehouse/orders/")})
	v.Must(err)
	return out.Versions
}

// Named are the keys of all objects that manifests name, in the form of stored.
func (v *Vaulted) Named() map[int64][]string {
	v.T.Helper()
	b, err := lake.New(v.Systems).Backups(v.T.Context(), v.Estate, "orders")
	v.Must(err)
	named := map[int64][]string{}
	for _, f := range b.All {
		for _, t := range f.Manifest.Tables {
			objects, err := b.List(v.T.Context(), t)
			v.Must(err)
			named[f.Seq] = append(named[f.Seq], strings.TrimPrefix(t.List.Key, "orders/"))
			for _, o := range objects {
				named[f.Seq] = append(named[f.Seq], strings.TrimPrefix(o.Copy.Key, "orders/"))
			}
		}
	}
	return named
}

// Expiry is a request of backup.expire.
func (v *Vaulted) Expiry() (*action.Definition, action.Request) {
	d := v.Lake.World.Action("backup.expire")
	r := v.Request(d, "orders")
	r.Guard = func(context.Context) error { return nil }
	return d, r
}

// Overwrite puts garbage over every object of a table, as who holds to ransom does.
func (v *Vaulted) Overwrite(region, table string) {
	v.T.Helper()
	decl, _, _ := v.Estate.Table(table)
	bucket, err := v.Estate.RealBucket("lake", region)
	v.Must(err)
	for o, err := range v.RootBucket(region).List(v.T.Context(), decl.Path+"/") {
		v.Must(err)
		_, err = v.S3[region].PutObject(v.T.Context(), &s3.PutObjectInput{Bucket: &bucket, Key: &o.Key, Body: strings.NewReader("pay 3 BTC")})
		v.Must(err)
	}
}

// Restored plans, applies and verifies table.restore.
func (v *Vaulted) Restored(table string, with any) (action.Change, []action.Observation) {
	v.T.Helper()
	d := v.Lake.World.Action("table.restore")
	r := v.Request(d, table)
	raw, err := json.Marshal(with)
	v.Must(err)
	v.Act(d, &r, raw)
	obs, err := d.Verify(v.T.Context(), r, raw)
	v.Must(err)
	if got := action.Worst(obs); got != verdict.Pass {
		v.T.Errorf("table.restore of %s: %s\n%s", table, got, prove.Told(obs))
	}
	return *r.Plan, obs
}

// Manifests are the group's, as the product finds them.
func (v *Vaulted) Manifests() []backup.Found {
	v.T.Helper()
	b, err := lake.New(v.Systems).Backups(v.T.Context(), v.Estate, "orders")
	v.Must(err)
	return b.All
}

// ObjectGone loses an object that no backup before the given one names.
func (v *Vaulted) ObjectGone(seq int64) (inject, heal func(context.Context) error) {
	v.T.Helper()
	b, err := lake.New(v.Systems).Backups(v.T.Context(), v.Estate, "orders")
	v.Must(err)
	named := map[string]bool{}
	var lost string
	for _, f := range b.All {
		table, _ := f.Manifest.Table("orders")
		objects, err := b.List(v.T.Context(), table)
		v.Must(err)
		for _, o := range objects {
			if !named[o.Copy.Key] && f.Seq == seq {
				lost = o.Copy.Key
			}
			named[o.Copy.Key] = true
		}
	}
	from := filepath.Join(v.Server.Folder, "vault", "lakehouse", filepath.FromSlash(lost))
	to := filepath.Join(v.T.TempDir(), "lost")
	return func(context.Context) error { return os.Rename(from, to) }, func(context.Context) error { return os.Rename(to, from) }
}

// DeltaRS lets delta-rs read a restored table, which shares no code with us.
func (v *Vaulted) DeltaRS(name string, rows, version int) {
	v.T.Helper()
	python := os.Getenv("BREAKWATER_PYTHON")
	if python == "" {
		v.T.Log("BREAKWATER_PYTHON is not set: read with our own reader only, not with delta-rs")
		return
	}
	decl, _, _ := v.Estate.Table(name)
	const program = `
import json, os, sys
from deltalake import DeltaTable
t = DeltaTable(sys.argv[1], storage_options=json.loads(sys.argv[2]))
print(json.dumps({"version": t.version(), "rows": t.to_pyarrow_table().num_rows}), flush=True)
os._exit(0)  # the library's threads do not always survive the interpreter's own end
`
	options, err := json.Marshal(map[string]string{
		"AWS_ENDPOINT_URL": v.Minio[West].Endpoint, "AWS_ACCESS_KEY_ID": miniotest.RootUser, "AWS_SECRET_ACCESS_KEY": miniotest.RootPassword,
		"AWS_REGION": "us-east-1", "AWS_ALLOW_HTTP": "true",
	})
	v.Must(err)
	cmd := exec.CommandContext(v.T.Context(), python, "-c", program, "s3://lake-west/"+decl.Path, string(options))
	stderr := &bytes.Buffer{}
	cmd.Stderr = stderr
	out, err := cmd.Output()
	if err != nil {
		v.T.Fatalf("delta-rs cannot read %s: %v: %s", name, err, stderr)
	}
	if got, want := strings.TrimSpace(string(out)), fmt.Sprintf(`{"version": %d, "rows": %d}`, version, rows); got != want {
		v.T.Errorf("delta-rs reads %s of %s, want %s", got, name, want)
	}
}

// The root of the backup place, who is another than that of the regions.
// Root of the server that keeps the backups.
const (
	VaultRoot   = "vault-root"
	VaultSecret = "vault-root-secret"
)

// vaultPlace is the backup place's folder among those of the regions.
const vaultPlace = "vault"

// Vaulted is a lake with a backup place: a third MinIO, with Object Lock.
type Vaulted struct {
	*Lake
	Server *miniotest.Server
	Store  *s3.Client // as its root
	admin  *madmin.AdminClient
	broken faults.Vaulted
}

// NewVaulted makes a lake with a backup place.
func NewVaulted(t *testing.T) *Vaulted {
	t.Helper()
	v := &Vaulted{Lake: NewLake(t)}
	from, err := furnished()
	v.Must(err)
	dir := t.TempDir()
	v.Must(os.CopyFS(dir, os.DirFS(filepath.Join(from, vaultPlace))))
	v.Server, err = miniotest.New(filepath.Join(dir, "minio"), filepath.Join(dir, "minio.log"))
	v.Must(err)
	v.Server.SetRoot(VaultRoot, VaultSecret)
	t.Cleanup(v.Server.Kill)
	v.Must(v.Server.Run(t.Context()))
	m, err := newStorage(v.Server.Endpoint, VaultRoot, VaultSecret)
	v.Must(err)
	v.Store, v.admin = m.s3, m.admin
	v.Estate.Backup = &estate.Backup{
		Endpoint: v.Server.Endpoint, Bucket: "vault", Prefix: "lakehouse", Mode: estate.Governance, Retention: estate.Duration(35 * 24 * time.Hour),
		Credentials: v.vaultRef("adder"), Restore: v.vaultRef("restorer"), Expiry: v.vaultRef("expirer"),
	}
	signer, err := v.Systems.Signer(t.Context(), v.Estate)
	v.Must(err)
	v.Estate.Ledger.Signers = []string{sshsig.Public(signer).String()}
	v.broken = faults.Vaulted{
		Storage: faults.Storage{Endpoint: v.Server.Endpoint, AccessKey: VaultRoot, SecretKey: VaultSecret, Bucket: "vault"},
		Folder:  v.Server.Folder, Prefix: "lakehouse/orders",
		Adder: faults.User{Name: "adder", Secret: SecretOf("adder")}, Reader: faults.User{Name: "restorer", Secret: SecretOf("restorer")}, Expirer: faults.User{Name: "expirer", Secret: SecretOf("expirer")},
		Writer: faults.User{Name: "orders-writer", Secret: SecretOf("orders-writer")},
		Stop:   func(context.Context) error { v.Server.Kill(); return nil },
		Start:  func(context.Context) error { v.Server.Kill(); v.Server.Restart(t); return nil },
	}
	return v
}

// Adds are the rights of who adds backups, and more.
func Adds(more ...string) []map[string]any {
	all := []string{"arn:aws:s3:::vault", "arn:aws:s3:::vault/*"}
	// MinIO lets whoever may set a retention shorten one in governance, without the
	// right to bypass it; the condition is what stops that.
	short := allows(all, "s3:PutObjectRetention")
	short["Effect"], short["Condition"] = "Deny", map[string]any{"NumericLessThan": map[string]any{"s3:object-lock-remaining-retention-days": "35"}}
	return []map[string]any{allows(all, append([]string{"s3:PutObject", "s3:PutObjectRetention", "s3:AbortMultipartUpload"}, more...)...), short}
}

func (v *Vaulted) vaultRef(user string) estate.Ref {
	return v.file("vault-"+user, map[string]string{"access_key": user, "secret_key": SecretOf(user)})
}

// VaultMay says what a user of the backup place may do from now on.
func (v *Vaulted) VaultMay(name string, statements ...map[string]any) {
	v.T.Helper()
	v.Must((&storage{admin: v.admin}).may(v.T.Context(), name, statements...))
}

// FaultSet is what can be done to the lake and to its backups.
func (v *Vaulted) FaultSet() fault.Set {
	return slices.Concat(faults.Backups(v.broken), v.Lake.FaultSet())
}

// As sets the run, as if a Schedule had started another one.
func (v *Vaulted) As(run string) { v.Run.Workflow, v.Run.FirstRun = "backup-"+run, run }

// Written makes the tables of the group orders with some versions, a checkpoint
// among them.
func (v *Vaulted) Written() {
	v.T.Helper()
	for range 6 {
		v.Tick(10 * time.Second)
		for _, name := range []string{"orders", "payments"} {
			if v.Writers[name] == nil {
				v.Create(name, 4)
			} else {
				v.Append(name, 10+len(v.Truth[name]))
			}
		}
	}
}

// Take takes a backup of the group orders and asks that it is proven.
func (v *Vaulted) Take(run string) {
	v.T.Helper()
	v.As(run)
	d := v.Lake.World.Action("backup.take")
	r := v.Request(d, "orders")
	v.Act(d, &r, nil)
	obs, err := d.Verify(v.T.Context(), r, nil)
	v.Must(err)
	for _, o := range obs {
		if o.Verdict != verdict.Pass {
			v.T.Fatalf("backup of run %s: %s", run, action.Finding(o))
		}
	}
}

// Stored lists the keys of the group's backups, with how many versions each has.
func (v *Vaulted) Stored() map[string]int {
	v.T.Helper()
	out, err := v.Store.ListObjectVersions(v.T.Context(), &s3.ListObjectVersionsInput{Bucket: aws.String("vault"), Prefix: aws.String("lakehouse/orders/")})
	v.Must(err)
	have := map[string]int{}
	for _, o := range out.Versions {
		have[strings.TrimPrefix(aws.ToString(o.Key), "lakehouse/orders/")]++
	}
	return have
}
