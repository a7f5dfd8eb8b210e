package activities

import (
	"context"
	"encoding/json"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"breakwater/internal/action"
	"breakwater/internal/estate"
	"breakwater/internal/fault"
	"breakwater/internal/objectstore/miniotest"
	"breakwater/internal/sshsig"
	"breakwater/internal/verdict"
	"breakwater/lab/faults"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/minio/madmin-go/v3"
	miniocreds "github.com/minio/minio-go/v7/pkg/credentials"
)

// The root of the backup place, who is another than that of the regions.
const vaultRoot, vaultSecret = "vault-root", "vault-root-secret"

// vaulted is a lake with a backup place: a third MinIO, with Object Lock.
type vaulted struct {
	*lake
	server *miniotest.Server
	store  *s3.Client // as its root
	broken faults.Vaulted
}

func newVaulted(t *testing.T) *vaulted {
	t.Helper()
	v := &vaulted{lake: newLake(t), server: miniotest.Start(t)}
	v.server.Kill()
	v.server.Env = append([]string{"MINIO_ROOT_USER=" + vaultRoot, "MINIO_ROOT_PASSWORD=" + vaultSecret}, v.server.Env[2:]...)
	v.server.Restart(t)
	v.store = s3.New(s3.Options{
		BaseEndpoint: aws.String(v.server.Endpoint), Region: "us-east-1", UsePathStyle: true,
		Credentials: credentials.NewStaticCredentialsProvider(vaultRoot, vaultSecret, ""), HTTPClient: &http.Client{Timeout: 10 * time.Second},
	})
	_, err := v.store.CreateBucket(t.Context(), &s3.CreateBucketInput{Bucket: aws.String("vault"), ObjectLockEnabledForBucket: aws.Bool(true)})
	v.must(err)
	all := []string{"arn:aws:s3:::vault", "arn:aws:s3:::vault/*"}
	v.vaultUser("adder", v.adds()...)
	reads := []string{"s3:GetObject", "s3:GetObjectVersion", "s3:GetObjectRetention", "s3:ListBucket", "s3:ListBucketVersions",
		"s3:GetBucketVersioning", "s3:GetBucketObjectLockConfiguration", "s3:GetLifecycleConfiguration", "s3:GetBucketPolicy"}
	v.vaultUser("restorer", allows(all, reads...))
	// AWS asks for the second one of these, MinIO for the first also of a version.
	v.vaultUser("expirer", allows(all, "s3:DeleteObject", "s3:DeleteObjectVersion"))
	v.estate.Backup = &estate.Backup{
		Endpoint: v.server.Endpoint, Bucket: "vault", Prefix: "lakehouse", Mode: estate.Governance, Retention: estate.Duration(35 * 24 * time.Hour),
		Credentials: v.vaultRef("adder"), Restore: v.vaultRef("restorer"), Expiry: v.vaultRef("expirer"),
	}
	signer, err := v.systems.Signer(t.Context(), v.estate)
	v.must(err)
	v.estate.Ledger.Signers = []string{sshsig.Public(signer).String()}
	v.broken = faults.Vaulted{
		Storage: faults.Storage{Endpoint: v.server.Endpoint, AccessKey: vaultRoot, SecretKey: vaultSecret, Bucket: "vault"},
		Folder:  v.server.Folder, Prefix: "lakehouse/orders",
		Adder: faults.User{Name: "adder", Secret: secretOf("adder")}, Reader: faults.User{Name: "restorer", Secret: secretOf("restorer")}, Expirer: faults.User{Name: "expirer", Secret: secretOf("expirer")},
		Writer: faults.User{Name: "orders-writer", Secret: secretOf("orders-writer")},
		Stop:   func(context.Context) error { v.server.Kill(); return nil },
		Start:  func(context.Context) error { v.server.Kill(); v.server.Restart(t); return nil },
	}
	return v
}

// adds are the rights of who adds backups, and more.
func (v *vaulted) adds(more ...string) []map[string]any {
	all := []string{"arn:aws:s3:::vault", "arn:aws:s3:::vault/*"}
	// MinIO lets whoever may set a retention shorten one in governance, without the
	// right to bypass it; the condition is what stops that.
	short := allows(all, "s3:PutObjectRetention")
	short["Effect"], short["Condition"] = "Deny", map[string]any{"NumericLessThan": map[string]any{"s3:object-lock-remaining-retention-days": "35"}}
	return []map[string]any{allows(all, append([]string{"s3:PutObject", "s3:PutObjectRetention", "s3:AbortMultipartUpload"}, more...)...), short}
}

func (v *vaulted) vaultRef(user string) estate.Ref {
	return v.file("vault-"+user, map[string]string{"access_key": user, "secret_key": secretOf(user)})
}

func (v *vaulted) vaultUser(name string, statements ...map[string]any) {
	v.t.Helper()
	adm := v.vaultMay(name, statements...)
	v.must(adm.AddUser(v.t.Context(), name, secretOf(name)))
	_, err := adm.AttachPolicy(v.t.Context(), madmin.PolicyAssociationReq{Policies: []string{name}, User: name})
	v.must(err)
}

// vaultMay says what a user of the backup place may do from now on.
func (v *vaulted) vaultMay(name string, statements ...map[string]any) *madmin.AdminClient {
	v.t.Helper()
	u, err := url.Parse(v.server.Endpoint)
	v.must(err)
	adm, err := madmin.NewWithOptions(u.Host, &madmin.Options{Creds: miniocreds.NewStaticV4(vaultRoot, vaultSecret, "")})
	v.must(err)
	doc, err := json.Marshal(map[string]any{"Version": "2012-10-17", "Statement": statements})
	v.must(err)
	v.must(adm.AddCannedPolicy(v.t.Context(), name, doc))
	return adm
}

func (v *vaulted) faultSet() fault.Set {
	return slices.Concat(faults.Backups(v.broken), v.lake.faultSet())
}

// as sets the run, as if a Schedule had started another one.
func (v *vaulted) as(run string) { v.run.Workflow, v.run.FirstRun = "backup-"+run, run }

// written makes the tables of the group orders with some versions, a checkpoint
// among them.
func (v *vaulted) written() {
	v.t.Helper()
	for range 6 {
		v.tick(10 * time.Second)
		for _, name := range []string{"orders", "payments"} {
			if v.writers[name] == nil {
				v.create(name, 4)
			} else {
				v.append(name, 10+len(v.truth[name]))
			}
		}
	}
}

// take takes a backup of the group orders and asks that it is proven.
func (v *vaulted) take(run string) {
	v.t.Helper()
	v.as(run)
	d := v.action("backup.take")
	r := v.request(d, "orders")
	ch, err := d.Plan(v.t.Context(), r, nil)
	v.must(err)
	r.Plan = &ch
	_, err = d.Apply(v.t.Context(), r, nil)
	v.must(err)
	obs, err := d.Verify(v.t.Context(), r, nil)
	v.must(err)
	for _, o := range obs {
		if o.Verdict != verdict.Pass {
			v.t.Fatalf("backup of run %s: %s", run, finding(o))
		}
	}
}

// stored lists the keys of the group's backups, with how many versions each has.
func (v *vaulted) stored() map[string]int {
	v.t.Helper()
	out, err := v.store.ListObjectVersions(v.t.Context(), &s3.ListObjectVersionsInput{Bucket: aws.String("vault"), Prefix: aws.String("lakehouse/orders/")})
	v.must(err)
	have := map[string]int{}
	for _, o := range out.Versions {
		have[strings.TrimPrefix(aws.ToString(o.Key), "lakehouse/orders/")]++
	}
	return have
}

func TestBackup(t *testing.T) {
	t.Parallel()
	v := newVaulted(t)
	v.written()
	t.Run("take", func(t *testing.T) {
		v.as("first")
		d := v.action("backup.take")
		proveAction(t, d, v.request(d, "orders"), v.faultSet())
	})
	t.Run("walled", func(t *testing.T) {
		d := v.action("backup.walled")
		proveAction(t, d, v.request(d, ""), v.faultSet())
	})
	t.Run("restorable", func(t *testing.T) {
		if len(v.stored()) == 0 {
			v.take("first")
		}
		v.as("drill")
		d := v.action("backup.restorable")
		proveAction(t, d, v.request(d, "orders"), v.faultSet())
	})
}

// TestBackupIsIncremental takes three backups: the second copies only what is new,
// the third, after the time for it, everything.
func TestBackupIsIncremental(t *testing.T) {
	t.Parallel()
	v := newVaulted(t)
	v.written()
	v.take("one")
	one := v.stored()
	v.tick(time.Minute)
	v.append("orders", 5)
	v.take("two")
	two := v.stored()
	fresh := map[string]int{}
	for key, n := range two {
		if n != 1 {
			t.Errorf("%s was written %d times", key, n)
		}
		fresh[strings.Split(key, "/")[0]]++
		if one[key] > 0 {
			fresh[strings.Split(key, "/")[0]]--
		}
	}
	// A data file, its commit and the list of orders; payments shares even its list,
	// unless the locks end a day later since.
	if fresh["manifests"] != 1 || fresh["data"] < 3 || fresh["data"] > 4 {
		t.Errorf("the second backup added %v", fresh)
	}
	v.estate.Backup.FullEvery = 1
	v.take("three")
	three := v.stored()
	again := 0
	for key := range three {
		if strings.HasPrefix(key, "data/000000000003/") {
			again++
		}
	}
	if again < 10 {
		t.Errorf("the full backup has %d objects of its own: %v", again, three)
	}
}

// TestWallOfAPolicy lets a principal change the bucket's own policy: that is seen,
// and the policy is afterwards what it was. One that was left by an attempt of who
// could not take it away is in nobody's way.
func TestWallOfAPolicy(t *testing.T) {
	t.Parallel()
	v := newVaulted(t)
	look := func() (verdict.Verdict, string) {
		t.Helper()
		d := v.action("backup.walled")
		obs, err := d.Verify(t.Context(), v.request(d, ""), nil)
		v.must(err)
		return action.Worst(obs), told(obs)
	}
	policy := func() string {
		t.Helper()
		out, err := v.store.GetBucketPolicy(t.Context(), &s3.GetBucketPolicyInput{Bucket: aws.String("vault")})
		if err != nil {
			return err.Error()
		}
		return aws.ToString(out.Policy)
	}
	v.vaultMay("adder", v.adds("s3:PutBucketPolicy")...)
	if got, all := look(); got != verdict.Fail || !strings.Contains(all, "it could write the bucket's policy, and that stays") {
		t.Errorf("who adds may write the policy: %s\n%s", got, all)
	}
	if !strings.Contains(policy(), "BreakwaterProbe") {
		t.Errorf("the policy is %s", policy())
	}
	v.vaultMay("adder", v.adds("s3:DeleteBucketPolicy")...)
	if got, all := look(); got != verdict.Fail || !strings.Contains(all, "it could remove the bucket's policy") {
		t.Errorf("who adds may remove the policy: %s\n%s", got, all)
	}
	if !strings.Contains(policy(), "NoSuchBucketPolicy") {
		t.Errorf("the policy is %s", policy())
	}

	// Now the bucket has one that somebody made.
	const made = `{"Version":"2012-10-17","Statement":[{"Sid":"Wall","Effect":"Deny","Principal":{"AWS":["*"]},"Action":["s3:DeleteObjectVersion"],"Resource":["arn:aws:s3:::vault/*"]}]}`
	_, err := v.store.PutBucketPolicy(t.Context(), &s3.PutBucketPolicyInput{Bucket: aws.String("vault"), Policy: aws.String(made)})
	v.must(err)
	was := policy()
	for _, right := range []string{"s3:PutBucketPolicy", "s3:DeleteBucketPolicy"} {
		v.vaultMay("adder", v.adds(right)...)
		got, all := look()
		if could := strings.Contains(all, "it could write the bucket's policy"); could != (right == "s3:PutBucketPolicy") || could != strings.Contains(got.String(), "fail") {
			t.Errorf("who adds has %s, and the bucket a policy: %s\n%s", right, got, all)
		}
		if policy() != was {
			t.Errorf("the policy is %s, was %s", policy(), was)
		}
	}
}

// TestBackupCompliance takes backups in mode compliance, with who adds having no
// more than the three rights: no condition has to stop it from shortening a lock.
// The store's root cannot take away what is held.
func TestBackupCompliance(t *testing.T) {
	t.Parallel()
	v := newVaulted(t)
	v.vaultMay("adder", v.adds()[0])
	v.estate.Backup.Mode, v.estate.Backup.Retention = estate.Compliance, estate.Duration(time.Hour)
	v.written()
	v.take("one")
	v.append("orders", 5)
	v.estate.Backup.Retention = estate.Duration(49 * time.Hour) // lengthens the locks of what is shared
	v.take("two")
	d := v.action("backup.walled")
	obs, err := d.Verify(t.Context(), v.request(d, ""), nil)
	v.must(err)
	if got := action.Worst(obs); got != verdict.Pass {
		t.Errorf("the wall in mode compliance: %s\n%s", got, told(obs))
	}
	all := v.versions()
	for _, o := range all {
		_, err := v.store.DeleteObject(t.Context(), &s3.DeleteObjectInput{
			Bucket: aws.String("vault"), Key: o.Key, VersionId: o.VersionId, BypassGovernanceRetention: aws.Bool(true),
		})
		if err == nil {
			t.Errorf("root deleted %s", aws.ToString(o.Key))
		}
	}
	if left := v.versions(); len(left) != len(all) || len(all) < 20 {
		t.Errorf("%d of %d versions are left", len(left), len(all))
	}
	// Held in another mode than the estate says is red.
	v.estate.Backup.Mode, v.estate.Backup.Retention = estate.Governance, estate.Duration(24*time.Hour)
	v.append("orders", 3)
	v.take("three")
	v.estate.Backup.Mode = estate.Compliance
	take := v.action("backup.take")
	if obs, err = take.Verify(t.Context(), v.request(take, "orders"), nil); err != nil || action.Worst(obs) != verdict.Fail || !strings.Contains(told(obs), "is held in mode GOVERNANCE") {
		t.Errorf("a backup in governance where compliance is promised: %v\n%s", err, told(obs))
	}
}
