package permit

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"breakwater/internal/estate"
	"breakwater/internal/objectstore/policy"
)

// Use is what some steps need in a run between two regions.
type Use struct {
	Permits        []Permit
	Source, Target string // regions; the same twice for a step that is about one
	// AtTarget is what a topic of the source is called at the target; nil where topics
	// keep their names.
	AtTarget func(topic string) string
	Notes    []string // the topics of the target in which the mirror notes how far it has come
}

// Policy is what one credential of an estate must be allowed.
type Policy struct {
	Holder    Holder     `json:"holder"`
	Region    string     `json:"region,omitempty"` // empty for what is in no region
	Reference estate.Ref `json:"reference,omitempty"`
	System    string     `json:"system"` // the provider of an object store or "s3", "kafka", "connect", "kv", "temporal"
	// One of these, by the system.
	Document *policy.Document `json:"document,omitempty"` // of IAM
	Paths    []Path           `json:"paths,omitempty"`    // of a vault
	ACLs     []ACL            `json:"acls,omitempty"`     // of Kafka
	Requests []string         `json:"requests,omitempty"` // of an interface that knows no policies
}

// Path is a path of a vault and what one may do there.
type Path struct {
	Path         string   `json:"path"`
	Capabilities []string `json:"capabilities"`
}

// ACL is an operation that a principal of Kafka is allowed.
type ACL struct {
	Kind      string `json:"kind"` // "topic", "group" or "cluster"
	Name      string `json:"name"`
	Operation string `json:"operation"` // "Read", …
}

// Speaks gives the words of an ability at a provider; false for a provider that is not
// known. See system.Speaks.
type Speaks func(provider string, role Role) (Words, bool)

// Policies gives what runs need in an estate: one policy for each credential that is
// asked with, by region and holder.
func Policies(e *estate.Estate, words Speaks, uses []Use) ([]Policy, error) {
	all := map[who]*gathered{}
	for _, u := range uses {
		for _, p := range u.Permits {
			if err := gather(all, e, words, u, p); err != nil {
				return nil, err
			}
		}
	}
	var out []Policy
	for key, g := range all {
		if pol, any := g.policy(e, key.region, key.holder); any {
			out = append(out, pol)
		}
	}
	for _, r := range e.Regions { // what credentials themselves lie in
		if pol, any := references(e, r, out); any {
			out = append(out, pol)
		}
	}
	slices.SortFunc(out, func(a, b Policy) int {
		return cmp.Or(strings.Compare(a.Region, b.Region), strings.Compare(string(a.Holder), string(b.Holder)))
	})
	return out, nil
}

// who is a credential of an estate.
type who struct {
	region string
	holder Holder
}

func gather(all map[who]*gathered, e *estate.Estate, words Speaks, u Use, p Permit) error {
	region := map[Side]string{Source: u.Source, Target: u.Target}[p.At]
	var r *estate.Region
	if p.At != Outside {
		var err error
		if r, err = e.RegionNamed(region); err != nil {
			return err
		}
	}
	holder, may, err := resolve(p, r, words)
	if err != nil || len(may) == 0 { // this provider has no such ability
		return err
	}
	key := who{region, holder}
	if all[key] == nil {
		all[key] = &gathered{iam: map[string]map[string]bool{}, paths: map[string]map[string]bool{}}
	}
	return all[key].add(e, r, p, holder, may, u)
}

// resolve gives a permit the words of the region's provider, and who is asked there.
func resolve(p Permit, r *estate.Region, words Speaks) (Holder, []string, error) {
	if p.Role == "" {
		return p.As, p.May, nil
	}
	if r == nil {
		return "", nil, fmt.Errorf("an administrator is asked at no region")
	}
	of, known := words(r.Storage.Provider, p.Role)
	if !known {
		return "", nil, fmt.Errorf("the storage of %s is of provider %q, of which no policies are known", r.Region, r.Storage.Provider)
	}
	if of.Recovery || of.Either && r.Storage.Admin == "" {
		return Storage, of.May, nil
	}
	return Admin, of.May, nil
}

// Words are what an ability of an object store's administration takes there.
type Words struct {
	May      []string
	Recovery bool // recovery itself has the ability
	Either   bool // recovery has it where the estate names no administrator
}

// gathered is what a holder needs in a region.
type gathered struct {
	iam      map[string]map[string]bool // actions by resource
	paths    map[string]map[string]bool // capabilities by path
	acls     []ACL
	requests []string
}

func set(into map[string]map[string]bool, key string, words ...string) {
	if into[key] == nil {
		into[key] = map[string]bool{}
	}
	for _, w := range words {
		into[key][w] = true
	}
}

func (g *gathered) add(e *estate.Estate, r *estate.Region, p Permit, holder Holder, may []string, in Use) error {
	switch holder {
	case Storage, Admin, Ledger, Adder, Restorer, Expirer:
		places, err := placesOf(e, r, p.On)
		if err != nil {
			return err
		}
		for _, a := range may {
			if strings.HasPrefix(a, "admin:") {
				set(g.iam, administration, a)
				continue
			}
			for _, at := range places {
				if ofBucket(a) {
					set(g.iam, policy.Bucket(at.bucket), a)
				} else {
					set(g.iam, policy.Bucket(at.bucket+"/"+at.below+"*"), a)
				}
			}
		}
	case Vault:
		g.vault(e, r, p.On, may)
	case Kafka:
		g.kafka(e, r, p, in)
	case Connect, Temporal:
		for _, what := range may {
			if !slices.Contains(g.requests, what) {
				g.requests = append(g.requests, what)
			}
		}
	default:
		return fmt.Errorf("nobody knows how to allow anything to %s", p.As)
	}
	return nil
}

// administration is the resource of what concerns no bucket. MinIO wants one, and looks
// at none.
const administration = "arn:aws:s3:::*"

// ofBucket reports whether an action of S3 concerns a bucket, and not its objects.
func ofBucket(action string) bool {
	name := strings.TrimPrefix(action, "s3:")
	if name == "ListMultipartUploadParts" {
		return false
	}
	for _, prefix := range []string{"ListBucket", "GetBucket", "PutBucket", "DeleteBucket", "GetReplicationConfiguration", "GetLifecycleConfiguration", "GetEncryptionConfiguration"} {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// at is a part of a bucket.
type at struct{ bucket, below string }

// placesOf are the parts of buckets that a thing is.
func placesOf(e *estate.Estate, r *estate.Region, on Thing) ([]at, error) {
	switch on {
	case Ledgers:
		below := strings.Trim(e.Ledger.Prefix, "/")
		if below != "" {
			below += "/"
		}
		return []at{{e.Ledger.Bucket, below}}, nil
	case Backups:
		if e.Backup == nil {
			return nil, nil
		}
		return []at{{e.Backup.Bucket, e.Backup.Keys()}}, nil
	}
	if r == nil {
		return nil, fmt.Errorf("the %s are in no region", on)
	}
	var all []at
	add := func(logical, below string) error {
		real, err := e.RealBucket(logical, r.Region)
		if err == nil && !slices.Contains(all, at{real, below}) {
			all = append(all, at{real, below})
		}
		return err
	}
	switch on {
	case Objects, Probes:
		below := ""
		if on == Probes {
			below = "*" + ProbePart + "/"
		}
		for _, b := range e.Buckets {
			if b.In[r.Region] != "" {
				if err := add(b.Bucket, below); err != nil {
					return nil, err
				}
			}
		}
	case Tables, Scratch:
		for _, g := range e.Groups {
			for _, t := range g.Tables {
				below := strings.Trim(t.Path, "/") + "/"
				if on == Scratch {
					below = ".breakwater/scratch/"
				}
				if err := add(t.Bucket, below); err != nil {
					return nil, err
				}
			}
		}
	case Journal, Events:
		bucket, below := e.Witness.Bucket, e.Witness.Prefix
		if on == Events {
			if bucket = ""; e.Lineage != nil {
				bucket, below = e.Lineage.Bucket, e.Lineage.Prefix
			}
		}
		if bucket == "" {
			return nil, nil
		}
		if below = strings.Trim(below, "/"); below != "" {
			below += "/"
		}
		err := add(bucket, below)
		return all, err
	default:
		return nil, fmt.Errorf("%s are no objects", on)
	}
	return all, nil
}

// vault adds paths of a mount of KV version 2. A word of may is "part:capability".
func (g *gathered) vault(e *estate.Estate, r *estate.Region, on Thing, may []string) {
	if r == nil || r.Vault == nil {
		return
	}
	var secrets []string
	switch on {
	case Sentinel:
		secrets = []string{r.Vault.Sentinel}
	case Routing:
		for _, group := range e.Groups {
			if group.Routing != nil {
				secrets = append(secrets, group.Routing.Secret)
			}
		}
	case Mount:
		for _, word := range may {
			part, capability, _ := strings.Cut(word, ":")
			set(g.paths, r.Vault.Mount+"/"+part, capability)
		}
	}
	for _, secret := range secrets {
		for _, word := range may {
			part, capability, _ := strings.Cut(word, ":")
			set(g.paths, r.Vault.Mount+"/"+part+"/"+secret, capability)
		}
	}
}

// kafka adds operations on what an estate has at a region's cluster.
func (g *gathered) kafka(e *estate.Estate, r *estate.Region, p Permit, in Use) {
	if r == nil || r.Kafka == nil {
		return
	}
	named := func(topic string) string {
		if p.At == Target && in.AtTarget != nil {
			return in.AtTarget(topic)
		}
		return topic
	}
	kind, names := "topic", []string{}
	switch p.On {
	case Topics:
		for _, group := range e.Groups {
			for _, t := range group.Topics {
				names = append(names, named(t.Topic))
			}
		}
	case CanaryTopics:
		for _, group := range e.Groups {
			if group.Canary != nil {
				names = append(names, named(group.Canary.Topic))
			}
		}
	case Mirror:
		names = in.Notes
	case ConsumerGroups:
		kind = "group"
		for _, group := range e.Groups {
			for _, c := range group.ConsumerGroups {
				names = append(names, c.ConsumerGroup)
			}
		}
	case EveryGroup:
		kind, names = "group", []string{"*"}
	case Cluster:
		kind, names = "cluster", []string{"kafka-cluster"}
	}
	for _, name := range names {
		for _, op := range p.May {
			if one := (ACL{kind, name, op}); !slices.Contains(g.acls, one) {
				g.acls = append(g.acls, one)
			}
		}
	}
}

// policy is what was gathered as the holder's policy, if it is anything.
func (g *gathered) policy(e *estate.Estate, region string, holder Holder) (Policy, bool) {
	p := Policy{Holder: holder, Region: region, System: "s3"}
	var r *estate.Region
	if region != "" {
		r, _ = e.Region(region)
	}
	switch holder {
	case Ledger:
		p.Reference = e.Ledger.Credentials
	case Adder, Restorer, Expirer:
		if e.Backup == nil {
			return p, false
		}
		p.Reference = map[Holder]estate.Ref{Adder: e.Backup.Credentials, Restorer: e.Backup.Restore, Expirer: e.Backup.Expiry}[holder]
	case Storage:
		p.Reference, p.System = r.Storage.Credentials, r.Storage.Provider
	case Admin:
		p.Reference, p.System = r.Storage.Admin, r.Storage.Provider
	case Vault:
		if r.Vault == nil {
			return p, false
		}
		p.Reference, p.System = r.Vault.Credentials, "kv"
	case Kafka:
		if r.Kafka == nil {
			return p, false
		}
		p.Reference, p.System = r.Kafka.Credentials, "kafka"
	case Connect:
		if r.Connect == nil {
			return p, false
		}
		p.Reference, p.System = r.Connect.Credentials, "connect"
	case Temporal:
		p.System, p.Region = "temporal", ""
	}
	if len(g.iam) > 0 {
		doc := document(g.iam)
		p.Document = &doc
	}
	for _, path := range slices.Sorted(maps.Keys(g.paths)) {
		p.Paths = append(p.Paths, Path{path, slices.Sorted(maps.Keys(g.paths[path]))})
	}
	p.ACLs = g.acls
	slices.SortFunc(p.ACLs, func(a, b ACL) int {
		return cmp.Or(strings.Compare(a.Kind, b.Kind), strings.Compare(a.Name, b.Name), strings.Compare(a.Operation, b.Operation))
	})
	p.Requests = g.requests
	slices.Sort(p.Requests)
	return p, p.Document != nil || len(p.Paths)+len(p.ACLs)+len(p.Requests) > 0
}

// document is a policy in which what is allowed of several resources alike stands in one
// statement, and what concerns a store's administration in one of its own.
func document(iam map[string]map[string]bool) policy.Document {
	by := map[string][]string{} // resources by their actions
	for resource, actions := range iam {
		var own, admin []string
		for _, a := range slices.Sorted(maps.Keys(actions)) {
			if strings.HasPrefix(a, "admin:") {
				admin = append(admin, a)
			} else {
				own = append(own, a)
			}
		}
		for _, words := range [][]string{own, admin} {
			if len(words) > 0 {
				key := strings.Join(words, " ")
				by[key] = append(by[key], resource)
			}
		}
	}
	var doc policy.Document
	for _, key := range slices.Sorted(maps.Keys(by)) {
		slices.Sort(by[key])
		doc.Statement = append(doc.Statement, policy.Statement{Effect: policy.Allow, Action: strings.Fields(key), Resource: by[key]})
	}
	doc.Version = policy.Language
	return doc
}
