package estate

import (
	"reflect"
	"strings"

	"breakwater/internal/arn"
)

// Backup says where backups go, who may add to them and how long they stay: a
// bucket with Object Lock in an account of its own, whose keys nothing else has.
type Backup struct {
	Endpoint    string `json:"endpoint" yaml:"endpoint"`                                 // URL of its S3
	SigningName string `json:"signing_region,omitempty" yaml:"signing_region,omitempty"` // region in request signatures; default: us-east-1
	Bucket      string `json:"bucket" yaml:"bucket"`                                     // real name; no region's own
	Prefix      string `json:"prefix,omitempty" yaml:"prefix,omitempty"`                 // put before every key
	Credentials Ref    `json:"credentials" yaml:"credentials"`                           // may add and hold longer; may not read, delete or configure
	Restore     Ref    `json:"restore" yaml:"restore"`                                   // may read, and nothing else
	// Expiry may delete what no lock holds any more; without it nothing expires.
	Expiry    Ref      `json:"expiry,omitempty" yaml:"expiry,omitempty"`
	Mode      LockMode `json:"mode" yaml:"mode"`                                 // who may take a lock away before its time
	Retention Duration `json:"retention" yaml:"retention"`                       // how long every backup is kept, at least
	FullEvery Duration `json:"full_every,omitempty" yaml:"full_every,omitempty"` // when everything is copied anew; never again after the first when zero
	// Batch lets S3 Batch Operations copy where there is very much of it; without
	// it everything is copied object by object.
	Batch *Batch `json:"batch,omitempty" yaml:"batch,omitempty"`
}

// Batch says who copies by S3 Batch Operations, and from when on.
type Batch struct {
	Role string `json:"role" yaml:"role"` // ARN of the role that copies, in the account of the backup place
	// FromObjects is of how many data objects of a table at least a batch copies
	// them. Fewer are copied object by object.
	FromObjects int `json:"from_objects" yaml:"from_objects"`
}

// LockMode says who may take a backup's lock away before its time.
type LockMode string

// The modes of Object Lock.
const (
	Governance LockMode = "governance" // whoever has the right to bypass it
	Compliance LockMode = "compliance" // nobody
)

// lockModes lists the modes.
func lockModes() []LockMode { return []LockMode{Governance, Compliance} }

// Keys is the prefix with a slash at its end, or empty.
func (b Backup) Keys() string {
	if p := strings.Trim(b.Prefix, "/"); p != "" {
		return p + "/"
	}
	return ""
}

// backup holds the backup place against the regions: what can reach both can
// destroy both.
func (v *validator) backup() {
	b := v.Backup
	if b == nil {
		return
	}
	v.door("/backup/endpoint", b.Endpoint)
	v.formed("/backup/signing_region", "signing_region", b.SigningName, regionForm)
	v.formed("/backup/bucket", "bucket", b.Bucket, bucketForm)
	v.within("/backup/prefix", "prefix", b.Prefix)
	v.oneOf("/backup/mode", "mode", string(b.Mode), words(lockModes()))
	if b.Retention == 0 {
		v.bad("/backup/retention", "backup has no retention: give the time that every backup is kept, such as 840h")
	}
	if b.FullEvery != 0 && b.FullEvery > b.Retention {
		v.bad("/backup/full_every", "full_every is longer than the retention: one damaged object could be in every backup there is")
	}
	if k := b.Batch; k != nil {
		if _, ok := arn.ParseRole(k.Role); k.Role != "" && !ok {
			v.bad("/backup/batch/role", "role %q must be the ARN of a role, such as arn:aws:iam::111122223333:role/backup-batch", k.Role)
		}
		if k.FromObjects < 1 {
			v.bad("/backup/batch/from_objects", "from_objects must be 1 or more, such as 100000: for fewer objects a batch is slower")
		}
	}
	for _, r := range v.Regions {
		for _, l := range v.Buckets {
			if b.Bucket != "" && l.In[r.Region] == b.Bucket && r.Storage.Endpoint == b.Endpoint {
				v.bad("/backup/bucket", "backup goes to bucket %q of region %q: it must not be lost with a region", b.Bucket, r.Region)
			}
		}
	}
	elsewhere := map[Ref]string{}
	without := *v.Estate
	without.Backup = nil
	collect(elsewhere, "", reflect.ValueOf(&without).Elem())
	for _, key := range []struct {
		name string
		ref  Ref
	}{{"credentials", b.Credentials}, {"restore", b.Restore}, {"expiry", b.Expiry}} {
		if key.ref == "" {
			continue
		}
		if at, shared := elsewhere[key.ref]; shared {
			v.problems = append(v.problems, Problem{At: "/backup/" + key.name, First: at, Text: key.name + " of backup is a credential of something else: whoever has it could reach both"})
		}
		elsewhere[key.ref] = "/backup/" + key.name
	}
}

// collect finds every credential and where it stands first.
func collect(into map[Ref]string, at string, part reflect.Value) {
	if ref, ok := part.Interface().(Ref); ok {
		if _, known := into[ref]; ref != "" && !known {
			into[ref] = at
		}
		return
	}
	walk(at, part, func(at string, part reflect.Value) { collect(into, at, part) })
}
