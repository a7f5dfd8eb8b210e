package estate

import (
	"fmt"
	"maps"
	"net"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"unicode"
)

// freely are the fields whose texts have a form of their own, in which lines and spaces
// may count: SQL and its answers, keys as in a file, what clients read.
var freely = []string{"golden", "quality", "answer", "key", "signers", "values"}

// texts holds every other text to one line that begins and ends with something to see: a
// name that differs from another by a space alone is found by nobody. What another rule
// has refused is not refused again.
func (v *validator) texts(at string, part reflect.Value) {
	key := at[strings.LastIndex(at, "/")+1:]
	if slices.Contains(freely, key) {
		return
	}
	hold := func(at, what, text string) {
		i := strings.IndexFunc(text, unicode.IsControl)
		switch {
		case slices.ContainsFunc(v.problems, func(p Problem) bool { return p.At == at }):
		case i >= 0:
			v.bad(at, "%s %s has a control character: write it in one line of text", what, ShowName(text))
		case strings.TrimSpace(text) != text && strings.TrimSpace(text) != "":
			v.bad(at, "%s %s begins or ends with a space: take it away", what, ShowName(text))
		}
	}
	switch {
	case part.Type() == reflect.TypeFor[Ref]():
		return // [validator.refs] knows its form, and shows none of it
	case part.Kind() == reflect.String:
		hold(at, key, part.String())
	case part.Kind() == reflect.Slice && part.Type().Elem().Kind() == reflect.String:
		for i := range part.Len() {
			if part.Index(i).String() == "" {
				v.bad(fmt.Sprintf("%s/%d", at, i), "%s has an empty entry: name what is meant, or take it away", key)
			}
			hold(fmt.Sprintf("%s/%d", at, i), key, part.Index(i).String())
		}
	case part.Kind() == reflect.Map && part.Type().Elem().Kind() == reflect.String:
		for k, text := range part.Seq2() {
			hold(at+"/"+escape(k.String()), key, text.String())
		}
	}
	walk(at, part, v.texts)
}

// form is what the names of a kind are made of, everywhere.
type form struct {
	what  string
	is    *regexp.Regexp
	words string
}

var (
	// Kafka takes no other names for topics, and MirrorMaker makes some of an alias.
	topicForm = form{"a topic", regexp.MustCompile(`^[A-Za-z0-9._-]{1,249}$`), "letters of ASCII, digits, dots, underscores and hyphens, 249 at most"}
	aliasForm = form{"an alias", regexp.MustCompile(`^[A-Za-z0-9._-]{1,200}$`), "letters of ASCII, digits, dots, underscores and hyphens, for MirrorMaker names topics by it"}
	// Old buckets have names that new ones cannot have.
	bucketForm = form{"a bucket", regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{1,253}[A-Za-z0-9]$`), "letters, digits, dots, underscores and hyphens, three at least, and no path: write that as a prefix"}
	regionForm = form{"a region in signatures", regexp.MustCompile(`^[A-Za-z0-9-]+$`), "letters, digits and hyphens, such as us-east-1"}
)

func (v *validator) formed(at, what, name string, f form) {
	if name != "" && !f.is.MatchString(name) {
		v.bad(at, "%s %s cannot be the name of %s: such a name has %s", what, ShowName(name), f.what, f.words)
	}
}

// oddParts reports whether a part of a path is no name.
func oddParts(path string) bool {
	return slices.ContainsFunc(strings.Split(path, "/"), func(s string) bool { return s == "" || s == "." || s == ".." })
}

// within holds a path inside a bucket or a mount to its form. A prefix may end with a slash.
func (v *validator) within(at, what, path string) {
	if path != "" && oddParts(strings.TrimSuffix(path, "/")) {
		v.bad(at, "%s %q must not begin with a slash, nor have empty parts, . or ..", what, path)
	}
}

// slashes holds a path without slashes at its ends to its form, and reports whether it has it.
func (v *validator) slashes(at, what, path string) bool {
	if oddParts(path) {
		v.bad(at, "%s %q must be a prefix without slashes at its ends, empty parts, . or ..", what, path)
		return false
	}
	return true
}

// door holds the address of a store, which is a host and a port and nothing behind them.
func (v *validator) door(at, text string) {
	v.url(at, "endpoint", text)
	if _, rest, ok := strings.Cut(text, "://"); ok {
		if _, path, more := strings.Cut(rest, "/"); more && path != "" || strings.ContainsAny(rest, "?#") {
			v.bad(at, "endpoint %q has something behind the host: write https://host:port alone, and the bucket under bucket", text)
		}
	}
}

// brokers are host:port, each of one cluster: bootstrap addresses of two would read one
// for the other.
func (v *validator) brokers(at string, r Region, of set) {
	if len(r.Kafka.Brokers) == 0 {
		v.bad(at, "kafka of region %q has no brokers", r.Region)
	}
	for j, b := range r.Kafka.Brokers {
		at := fmt.Sprintf("%s/%d", at, j)
		if strings.Contains(b, "@") {
			// The text is not shown: it may hold a password.
			v.bad(at, "broker of region %q holds a user: an address stands in plans, errors and reports, and is no place for credentials; write host:port, and name them by credentials beside it", r.Region)
			continue
		}
		host, port, err := net.SplitHostPort(b)
		if err != nil || host == "" || port == "" {
			v.bad(at, "broker %q must be host:port", b)
			continue
		}
		if n, err := strconv.ParseUint(port, 10, 16); err != nil || n == 0 {
			v.bad(at, "broker %q has no port: it must be host:port, with a port from 1 to 65535", b)
			continue
		}
		v.once(of, b, at, "broker %q is declared twice: the brokers of one region are no other's", b)
	}
}

// connectors are the mirror's, each once: one that were two kinds of connector would be
// stopped and asked as what it is not.
func (v *validator) connectors(at string, c *Connect) {
	there := set{}
	for _, n := range []struct{ key, name string }{{"source", c.Source}, {"checkpoint", c.Checkpoint}, {"heartbeat", c.Heartbeat}} {
		v.declare(there, "connector", n.name, at+"/"+n.key)
	}
	for j, name := range c.Others {
		v.declare(there, "connector", name, fmt.Sprintf("%s/others/%d", at, j))
	}
	v.formed(at+"/offsets_topic", "offsets_topic", c.OffsetsTopic, topicForm)
}

// routed holds what clients read in each region against each other: where it is the same,
// nobody learns of a failover.
func (v *validator) routed(at string, g *Group) {
	values := g.Routing.Values
	v.within(at+"/secret", "secret", g.Routing.Secret)
	regions := slices.Sorted(maps.Keys(values))
	for i, r := range regions {
		at := at + "/values/" + escape(r)
		if len(values[r]) == 0 {
			v.bad(at, "routing values of group %q are empty for region %q: give what clients must read there", g.Group, r)
			continue
		}
		for _, other := range regions[:i] {
			if maps.Equal(values[other], values[r]) {
				v.bad(at, "routing values of group %q are the same for regions %q and %q: clients would not learn where to go", g.Group, other, r)
			}
		}
	}
}

// witness keeps the journal apart from the tables: what promotes a table quarantines
// what is no part of it.
func (v *validator) witness() {
	v.within("/witness/prefix", "prefix", v.Witness.Prefix)
	v.outside("/witness/prefix", v.Witness.Bucket, v.Witness.Prefix, "the journal a prefix of its own, such as _witness")
}

// outside holds a prefix of a bucket against the tables in it.
func (v *validator) outside(at, bucket, prefix, instead string) {
	inner := strings.Trim(prefix, "/") + "/"
	for _, g := range v.Groups {
		for _, t := range g.Tables {
			path := strings.Trim(t.Path, "/") + "/"
			if bucket == "" || t.Bucket != bucket || path == "/" || inner == "/" {
				continue
			}
			if strings.HasPrefix(inner, path) || strings.HasPrefix(path, inner) {
				v.bad(at, "prefix %q and the path of table %q lie inside one another: give %s", prefix, t.Table, instead)
			}
		}
	}
}
