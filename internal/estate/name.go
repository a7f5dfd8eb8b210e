package estate

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"breakwater/internal/plural"

	"golang.org/x/text/unicode/norm"
)

// SameName reports whether two names are the same to a reader. A letter with a mark can
// be written as one sign or as two, and a keyboard or a file system chooses for whoever
// types it; canonically equal texts (Unicode Standard Annex 15) are one name.
func SameName(a, b string) bool { return a == b || norm.NFC.String(a) == norm.NFC.String(b) }

// ShowName quotes a name so that what it is made of can be seen, for a message in which
// it is held against others.
func ShowName(name string) string { return fmt.Sprintf("%+q", name) }

// Member is the role's member of that name, in the estate's own spelling.
func (r *Role) Member(name string) (*Member, bool) {
	i := slices.IndexFunc(r.Members, func(m Member) bool { return SameName(m.Name, name) })
	if i < 0 {
		return nil, false
	}
	return &r.Members[i], true
}

// NoMember says that the role has nobody of that name, and whom it has.
func (r *Role) NoMember(name string) string {
	const most = 10
	var has []string
	for _, m := range r.Members[:min(len(r.Members), most)] {
		has = append(has, ShowName(m.Name))
	}
	more := ""
	if n := len(r.Members) - most; n > 0 {
		more = fmt.Sprintf(" and %d more", n)
	}
	return fmt.Sprintf("%s is not a member of role %s, which has %s%s", ShowName(name), r.Role, strings.Join(has, ", "), more)
}

// carried says what is wrong with a name that goes into the headers of requests, as the
// id of a run or a schedule does; empty where nothing is.
func carried(name string) string {
	for _, c := range name {
		if c < ' ' || c > '~' {
			return fmt.Sprintf("it has the character %+q, and requests to Temporal carry printable ASCII alone", c)
		}
	}
	if strings.TrimSpace(name) != name {
		return "it begins or ends with a space, which requests do not carry"
	}
	return ""
}

// ascii is a proposal for a name without what cannot be carried: letters without their
// marks, and nothing of what has no such letter.
func ascii(name string) string {
	kept := strings.Map(func(c rune) rune {
		if c < ' ' || c > '~' {
			return -1
		}
		return c
	}, norm.NFD.String(name))
	return cmp.Or(strings.TrimSpace(kept), "main")
}

// RunID says why a text cannot be the id of a run; empty where it can.
func RunID(id string) string {
	const most = 1000
	if id == "" || len(id) > most {
		return fmt.Sprintf("it has %s, and Temporal takes from 1 to %d", plural.Of(len(id), "byte"), most)
	}
	return carried(id)
}
