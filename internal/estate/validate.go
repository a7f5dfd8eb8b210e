package estate

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"breakwater/internal/mistake"
	"breakwater/internal/sshsig"

	"golang.org/x/text/unicode/norm"
)

// Problem is one thing wrong with an estate.
type Problem struct {
	At    string // JSON Pointer (RFC 6901) to the part, such as "/groups/0/tier"
	Text  string // one sentence: what was found, what is allowed
	First string // of something declared twice: JSON Pointer to the first
}

// Providers lists the object stores that a region may have.
func Providers() []string { return []string{"aws", "minio"} }

// Formats lists the table formats that can be recovered.
func Formats() []string { return []string{"delta"} }

// Connectors lists the orchestrators that pipelines may run in.
func Connectors() []string { return []string{"temporal-schedule"} }

// methods lists how approvers may prove who they are.
func methods() []Method { return []Method{Signed, Claimed, PrincipalMethod} }

// Validate reports everything in the estate that does not fit together: names
// given twice, references to nothing, keys that do not parse. It looks at no
// system; `estate check` does that.
func (e *Estate) Validate() []Problem {
	v := &validator{Estate: e}
	for key, n := range map[string]int{"regions": len(e.Regions), "tiers": len(e.Tiers), "roles": len(e.Roles), "groups": len(e.Groups)} {
		if n == 0 {
			v.bad("/"+key, "the estate has no %s", key)
		}
	}
	v.unique()
	v.carried("/estate", "estate", e.Estate)
	v.regions()
	v.roles()
	v.tiers()
	v.buckets()
	v.groups()
	v.paths()
	v.ledger()
	v.backup()
	v.witness()
	v.lineage()
	v.refs("", reflect.ValueOf(e).Elem())
	v.texts("", reflect.ValueOf(e).Elem())
	return v.problems
}

type validator struct {
	*Estate
	problems []Problem
}

func (v *validator) bad(at, format string, args ...any) {
	v.problems = append(v.problems, Problem{At: at, Text: fmt.Sprintf(format, args...)})
}

// set notes where each name of a kind stands first.
type set map[string]string

func (v *validator) declare(s set, kind, name, at string) {
	if name == "" {
		return // the loader reports what is missing
	}
	v.once(s, norm.NFC.String(name), at, "%s %q is declared twice", kind, name)
}

func (v *validator) once(s set, key, at, format string, args ...any) {
	if first, twice := s[key]; twice {
		v.problems = append(v.problems, Problem{At: at, Text: fmt.Sprintf(format, args...), First: first})
		return
	}
	s[key] = at
}

// unique holds the names of every kind against each other: an item is found, and
// a plan is approved, by its name alone.
func (v *validator) unique() {
	regions, tiers, roles, buckets, groups := set{}, set{}, set{}, set{}, set{}
	tables, topics, consumers, pipelines := set{}, set{}, set{}, set{}
	for i, r := range v.Regions {
		v.declare(regions, "region", r.Region, pointer("regions", i, "region"))
	}
	for i, t := range v.Tiers {
		v.declare(tiers, "tier", fmt.Sprint(t.Tier), pointer("tiers", i, "tier"))
	}
	for i, r := range v.Roles {
		v.declare(roles, "role", r.Role, pointer("roles", i, "role"))
	}
	for i, b := range v.Buckets {
		v.declare(buckets, "bucket", b.Bucket, pointer("buckets", i, "bucket"))
	}
	for i, g := range v.Groups {
		v.declare(groups, "group", g.Group, pointer("groups", i, "group"))
		for j, t := range g.Tables {
			v.declare(tables, "table", t.Table, pointer("groups", i, "tables", j, "table"))
		}
		for j, t := range g.Topics {
			v.declare(topics, "topic", t.Topic, pointer("groups", i, "topics", j, "topic"))
		}
		for j, c := range g.ConsumerGroups {
			v.declare(consumers, "consumer group", c.ConsumerGroup, pointer("groups", i, "consumer_groups", j, "consumer_group"))
		}
		for j, p := range g.Pipelines {
			v.declare(pipelines, "pipeline", p.Pipeline, pointer("groups", i, "pipelines", j, "pipeline"))
		}
	}
}

// separator matches what may stand between an alias and a topic, and nothing for the
// default.
var separator = regexp.MustCompile(`^[a-zA-Z0-9._-]*$`)

func (v *validator) regions() {
	primaries, standbys := 0, 0
	clusters, aliases, brokers := set{}, set{}, set{}
	for i, r := range v.Regions {
		at := pointer("regions", i)
		switch r.Role {
		case Primary:
			primaries++
			if primaries > 1 {
				v.bad(at+"/role", "region %q is a second primary: an estate has exactly one", r.Region)
			}
		case Standby:
			standbys++
		case "":
		default:
			v.oneOf(at+"/role", "role of a region", string(r.Role), []string{string(Primary), string(Standby)})
		}
		v.storage(at+"/storage", r)
		if k := r.Kafka; k != nil {
			v.declare(clusters, "cluster_id", k.ClusterID, at+"/kafka/cluster_id")
			v.declare(aliases, "alias", k.Alias, at+"/kafka/alias")
			v.formed(at+"/kafka/alias", "alias", k.Alias, aliasForm)
			v.brokers(at+"/kafka/brokers", r, brokers)
		}
		if c := r.Connect; c != nil {
			v.url(at+"/connect/url", "url", c.URL)
			v.connectors(at+"/connect", c)
			if r.Kafka == nil {
				v.bad(at+"/connect", "region %q has connect and no kafka: MirrorMaker 2 writes into a cluster of its region", r.Region)
			}
			if p := c.Principal; p != nil && (p.Name == "*" || strings.HasPrefix(p.Name, "User:")) {
				v.bad(at+"/connect/principal/name", "principal %q must be the mirror's own user, without User: before it, such as %q: a denial to everybody would keep the consumers out", p.Name, "mirror")
			}
			if !separator.MatchString(c.Separator) {
				v.bad(at+"/connect/separator", "separator %q cannot be part of a topic's name: write what the connectors have as replication.policy.separator, of letters, digits, and . _ -", c.Separator)
			}
		}
		if r.Vault != nil {
			v.url(at+"/vault/address", "address", r.Vault.Address)
			v.slashes(at+"/vault/mount", "mount", r.Vault.Mount)
			v.within(at+"/vault/sentinel", "sentinel", r.Vault.Sentinel)
		}
	}
	if len(v.Regions) > 0 && primaries == 0 {
		v.bad("/regions", "no region has the role primary: an estate has exactly one")
	}
	if len(v.Regions) > 0 && standbys == 0 {
		v.bad("/regions", "no region has the role standby: there is nowhere to fail over to")
	}
}

func (v *validator) storage(at string, r Region) {
	s := r.Storage
	v.oneOf(at+"/provider", "provider", s.Provider, Providers())
	v.formed(at+"/signing_region", "signing_region", s.SigningName, regionForm)
	if s.Endpoint != "" {
		v.door(at+"/endpoint", s.Endpoint)
	} else if s.Provider == "minio" {
		v.bad(at, "storage of region %q has no endpoint: MinIO needs one", r.Region)
	}
	if s.Admin == "" && (len(s.Writers) > 0 || s.Replication != nil) {
		v.bad(at, "storage of region %q has writers or replication and no admin: a fence changes policies with it", r.Region)
	}
	writers := set{}
	for j, w := range s.Writers {
		v.declare(writers, "writer", w.Name, fmt.Sprintf("%s/writers/%d/name", at, j))
	}
}

func (v *validator) roles() {
	for i, r := range v.Roles {
		at := pointer("roles", i)
		v.oneOf(at+"/method", "method", string(r.Method), words(methods()))
		if len(r.Members) == 0 {
			v.bad(at+"/members", "role %q has no members: nobody could decide", r.Role)
		}
		names, keys := set{}, set{}
		for j, m := range r.Members {
			at := pointer("roles", i, "members", j)
			v.declare(names, "member", m.Name, at+"/name")
			if m.Key == "" {
				if r.Method == Signed {
					v.bad(at, "member %q has no key: role %q signs its approvals", m.Name, r.Role)
				}
				continue
			}
			key, err := sshsig.ParseKey(m.Key)
			if err != nil {
				v.bad(at+"/key", "key of %q does not parse: %v", m.Name, err)
				continue
			}
			v.once(keys, key.Fingerprint(), at+"/key", "member %q has another member's key", m.Name)
		}
	}
}

func (v *validator) tiers() {
	for i, t := range v.Tiers {
		if t.Tier < 1 {
			v.bad(pointer("tiers", i, "tier"), "tier %d: tiers count from 1", t.Tier)
		}
		if t.RTO == 0 {
			v.bad(pointer("tiers", i, "rto"), "tier %d has no rto: give the time to recover within, such as 30m", t.Tier)
		}
	}
}

func (v *validator) buckets() {
	real := set{}
	for i, b := range v.Buckets {
		v.oneOf(pointer("buckets", i, "delete_markers"), "delete_markers", b.DeleteMarkers, []string{Replicate, Keep})
		v.oneOf(pointer("buckets", i, "reverse_rule"), "reverse_rule", b.ReverseRule, []string{Enabled, Disabled})
		at := pointer("buckets", i, "in")
		v.everyRegion(at, fmt.Sprintf("bucket %q", b.Bucket), slices.Sorted(maps.Keys(b.In)))
		for _, region := range slices.Sorted(maps.Keys(b.In)) {
			if b.In[region] == "" {
				v.bad(at+"/"+escape(region), "bucket %q has no name in region %q: give that of the real bucket", b.Bucket, region)
			} else if _, known := v.Region(region); known {
				v.formed(at+"/"+escape(region), "bucket", b.In[region], bucketForm)
				v.once(real, region+"/"+b.In[region], at+"/"+escape(region), "the real bucket %q of region %q belongs to another bucket", b.In[region], region)
			}
		}
	}
	if w := v.Witness; w.Bucket != "" {
		v.reference("/witness/bucket", "bucket", w.Bucket, each(v.Buckets, func(b Bucket) string { return b.Bucket }))
	} else if w.Prefix != "" {
		v.bad("/witness", "witness has a prefix and no bucket")
	}
}

func (v *validator) ledger() {
	if v.Ledger.Endpoint != "" {
		v.door("/ledger/endpoint", v.Ledger.Endpoint)
	}
	v.formed("/ledger/region", "region", v.Ledger.Region, regionForm)
	v.formed("/ledger/bucket", "bucket", v.Ledger.Bucket, bucketForm)
	v.within("/ledger/prefix", "prefix", v.Ledger.Prefix)
	if v.Ledger.Bucket != "" && len(v.Ledger.Signers) == 0 {
		v.bad("/ledger/signers", "ledger has no signers: no signed head could be trusted")
	}
	for i, s := range v.Ledger.Signers {
		if _, err := sshsig.ParseSigner(s); err != nil {
			v.bad(pointer("ledger", "signers", i), "signer does not parse: %v", err)
		}
	}
}

var refForm = regexp.MustCompile(`^(env:[A-Za-z_][A-Za-z0-9_]*|file:[^\s].*|vault:[^\s#/]+/[^\s#]*[^\s#/](#[^\s#]+)?)$`)

// refs finds every credential, wherever it stands.
func (v *validator) refs(at string, part reflect.Value) {
	if ref, ok := part.Interface().(Ref); ok {
		if ref != "" && !refForm.MatchString(string(ref)) {
			v.bad(at, "credential %s must be vault:mount/path#field, env:NAME or file:path", masked(ref))
		} else if strings.HasPrefix(string(ref), "vault:") {
			v.asked(at)
		}
		return
	}
	walk(at, part, v.refs)
}

// asked holds a reference into a vault against where it stands: it is read from the
// vault of its own region, at the moment of use.
func (v *validator) asked(at string) {
	const instead = "write env:NAME or file:path"
	part := strings.Split(strings.TrimPrefix(at, "/"), "/")
	number := func(n int) int { i, _ := strconv.Atoi(part[n]); return i } // walk made them
	var name string
	switch part[0] {
	case "regions":
		name = v.Regions[number(1)].Region
		if part[2] == "vault" {
			v.bad(at, "the credential that opens the vault of region %q cannot lie in a vault: %s", name, instead)
			return
		}
	case "groups": // /groups/0/access/readers/0/credentials
		all := v.Groups[number(1)].Access.Readers
		if part[3] == "writers" {
			all = v.Groups[number(1)].Access.Writers
		}
		name = all[number(4)].Region
	default:
		v.bad(at, "%s belongs to no region, so no vault can be asked for its credentials: %s", part[0], instead)
		return
	}
	if r, ok := v.Region(name); ok && r.Vault == nil {
		v.bad(at, "region %q has no vault to ask for this credential: give it one, or %s", name, instead)
	}
}

// walk visits the parts of a part, as far as credentials can stand in them.
func walk(at string, part reflect.Value, visit func(at string, part reflect.Value)) {
	switch part.Kind() {
	case reflect.Pointer:
		if !part.IsNil() {
			visit(at, part.Elem())
		}
	case reflect.Struct:
		for i := range part.NumField() {
			name, _, _ := strings.Cut(part.Type().Field(i).Tag.Get("yaml"), ",")
			visit(at+"/"+name, part.Field(i))
		}
	case reflect.Slice:
		if k := part.Type().Elem().Kind(); k == reflect.Struct {
			for i := range part.Len() {
				visit(fmt.Sprintf("%s/%d", at, i), part.Index(i))
			}
		}
	}
}

// masked shows what kind of reference was meant and hides the rest: somebody may
// have pasted the secret itself.
func masked(r Ref) string {
	if scheme, _, ok := strings.Cut(string(r), ":"); ok && len(scheme) <= 5 {
		return fmt.Sprintf("%q", scheme+":…")
	}
	return "(not shown)"
}

func (v *validator) url(at, what, text string) {
	u, err := url.Parse(text)
	good := err == nil && u.Host != "" && (u.Scheme == "http" || u.Scheme == "https")
	if good && u.User != nil || !good && strings.Contains(text, "@") {
		// The text is not shown: it may hold a password.
		v.bad(at, "%s holds a user: a URL stands in plans, errors and reports, and is no place for credentials; name them by credentials beside it", what)
		return
	}
	if text != "" && !good {
		v.bad(at, "%s %q must be a URL such as https://host:port", what, text)
	}
}

// carried holds a name that ends up in ids of runs or schedules against what can carry it.
func (v *validator) carried(at, what, name string) {
	if why := carried(name); why != "" {
		v.bad(at, "%s %q cannot be named in a request: %s; write it in ASCII, such as %q", what, name, why, ascii(name))
	}
}

func (v *validator) oneOf(at, what, found string, allowed []string) {
	if found != "" && !slices.Contains(allowed, found) {
		v.bad(at, "%s %q is not known: allowed are %s%s", what, found, strings.Join(allowed, ", "), mistake.DidYouMean(found, allowed))
	}
}

// reference reports a name that nothing in the estate has.
func (v *validator) reference(at, what, found string, there []string) {
	switch {
	case found == "" || slices.Contains(there, found):
	case len(there) > 2000: // looking for the nearest of very many, for each of very many, has no end
		v.bad(at, "%s %q is not in the estate", what, found)
	case len(there) > 20:
		v.bad(at, "%s %q is not in the estate%s", what, found, mistake.DidYouMean(found, there))
	default:
		v.bad(at, "%s %q is not in the estate: it has %s%s", what, found, cmp.Or(strings.Join(there, ", "), "none"), mistake.DidYouMean(found, there))
	}
}

// everyRegion holds a map by region against the regions: each known, none missing.
func (v *validator) everyRegion(at, what string, regions []string) {
	there := each(v.Regions, func(r Region) string { return r.Region })
	for _, r := range regions {
		v.reference(at+"/"+escape(r), "region", r, there)
	}
	for _, r := range there {
		if r != "" && !slices.Contains(regions, r) {
			v.bad(at, "%s has nothing for region %q: failover and failback need both sides", what, r)
		}
	}
}

// pointer joins keys and indices to a JSON Pointer.
func pointer(parts ...any) string {
	b := &strings.Builder{}
	for _, p := range parts {
		fmt.Fprintf(b, "/%v", p)
	}
	return b.String()
}

func escape(key string) string { return strings.NewReplacer("~", "~0", "/", "~1").Replace(key) }

func each[T any](all []T, name func(T) string) []string {
	names := make([]string, len(all))
	for i, v := range all {
		names[i] = name(v)
	}
	return names
}

func words[S ~string](all []S) []string { return each(all, func(s S) string { return string(s) }) }
