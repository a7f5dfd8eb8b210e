package permit

import (
	"fmt"
	"strconv"
	"strings"

	"breakwater/internal/shell"
)

// Text is a policy as one gives it to its system.
func (p Policy) Text() string {
	b := &strings.Builder{}
	switch {
	case p.Document != nil:
		// A statement on each line: a page of brackets hides what is allowed.
		fmt.Fprintf(b, "{\"Version\": %q, \"Statement\": [\n", p.Document.Version)
		for i, s := range p.Document.Statement {
			if i > 0 {
				b.WriteString(",\n")
			}
			fmt.Fprintf(b, "  {\"Effect\": %q, \"Action\": %s,\n   \"Resource\": %s}", s.Effect, list(s.Action), list(s.Resource))
		}
		b.WriteString("\n]}\n")
	case len(p.Paths) > 0:
		for _, at := range p.Paths {
			fmt.Fprintf(b, "path %q { capabilities = %s }\n", at.Path, list(at.Capabilities))
		}
	case len(p.ACLs) > 0:
		for _, a := range p.ACLs {
			on := "--" + a.Kind + " " + shell.Word(a.Name)
			if a.Kind == "cluster" {
				on = "--cluster"
			}
			fmt.Fprintf(b, "kafka-acls.sh --bootstrap-server BROKER --add --allow-principal User:USER --operation %s %s\n", a.Operation, on)
		}
	default:
		for _, r := range p.Requests {
			fmt.Fprintln(b, r)
		}
	}
	return b.String()
}

// list is words as JSON and HCL write them. None needs more than quotes.
func list(words []string) string {
	quoted := make([]string, len(words))
	for i, w := range words {
		quoted[i] = strconv.Quote(w)
	}
	return "[" + strings.Join(quoted, ", ") + "]"
}

// Language is what the text is written in, as a block of Markdown names it.
func (p Policy) Language() string {
	switch {
	case p.Document != nil:
		return "json"
	case len(p.Paths) > 0:
		return "hcl"
	case len(p.ACLs) > 0:
		return "sh"
	}
	return ""
}
