package approval

import (
	"bytes"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ParseStatement reads what [Statement.Text] wrote. It is its strict inverse: what
// is not byte for byte the text of a statement of version 2 is an error.
func ParseStatement(signed []byte) (Statement, error) {
	lines, err := factsOf(signed, version2)
	if err != nil {
		return Statement{}, err
	}
	s := Statement{
		Decision: Verb(lines.next("decision")), Gate: lines.next("gate"), Attempt: lines.number("attempt"), Plan: lines.next("plan"),
		Mode: lines.next("mode"), Direction: lines.next("direction"), Reason: lines.next("reason"),
	}
	for n := lines.number("items"); n > 0 && lines.err == nil; n-- {
		s.Items = append(s.Items, lines.next("item"))
	}
	s.Owner, s.Due = lines.next("owner"), lines.next("due")
	lines.tail(&s)
	return s, lines.end(signed, s.Text())
}

// ParseVersion1 reads a statement as people signed it before it held a mode and a
// direction. It is for reading old ledgers: no decision counts by one any more.
func ParseVersion1(signed []byte) (Statement, error) {
	lines, err := factsOf(signed, version1)
	if err != nil {
		return Statement{}, err
	}
	s := Statement{
		Decision: Verb(lines.next("decision")), Gate: lines.next("gate"), Attempt: lines.number("attempt"), Plan: lines.next("plan"),
	}
	lines.tail(&s)
	return s, lines.end(signed, text(version1, append([][2]string{
		{"decision", string(s.Decision)}, {"gate", s.Gate}, {"attempt", strconv.Itoa(s.Attempt)}, {"plan", s.Plan},
	}, s.tail()...)))
}

// facts are the lines of a statement that are still to be read.
type facts struct {
	lines []string
	err   error
}

func factsOf(signed []byte, title string) (*facts, error) {
	lines := strings.Split(string(signed), "\n")
	if lines[0] != title {
		return nil, fmt.Errorf("read a statement: it begins with %.60q and not with %q", lines[0], title)
	}
	return &facts{lines: lines[1:]}, nil
}

// next is the value of the next line, which must be of that name.
func (f *facts) next(name string) string {
	if f.err != nil {
		return ""
	}
	if len(f.lines) == 0 {
		f.err = fmt.Errorf("it ends before the line %q", name)
		return ""
	}
	value, ok := strings.CutPrefix(f.lines[0], name+": ")
	if !ok {
		f.err = fmt.Errorf("%.60q stands where the line %q must", f.lines[0], name)
		return ""
	}
	f.lines = f.lines[1:]
	if strings.HasPrefix(value, `"`) {
		plain, err := strconv.Unquote(value)
		if err != nil {
			f.err = fmt.Errorf("the line %q is %.60q, which does not end as it begins", name, value)
		}
		return plain
	}
	return value
}

func (f *facts) number(name string) int {
	value := f.next(name)
	n, err := strconv.Atoi(value)
	if err != nil && f.err == nil {
		f.err = fmt.Errorf("the line %q is %.60q, which is no number", name, value)
	}
	return n
}

func (f *facts) tail(s *Statement) {
	if at := f.next("expires"); at != "never" {
		t, err := time.Parse(time.RFC3339, at)
		if err != nil && f.err == nil {
			f.err = fmt.Errorf("the line %q is %.60q, which is no time", "expires", at)
		}
		s.Expires = t
	}
	s.Run.Workflow, s.Run.FirstRun = f.next("workflow"), f.next("first run")
	s.Namespace, s.Estate, s.Head = f.next("namespace"), f.next("estate"), f.next("ledger")
}

// end says what is wrong with what was read, which must be written as it was.
func (f *facts) end(signed, again []byte) error {
	if f.err == nil && !bytes.Equal(signed, again) {
		f.err = errors.New("it is not written as a statement is: another spelling, or something after its end")
	}
	if f.err != nil {
		return fmt.Errorf("read a statement: %w", f.err)
	}
	return nil
}
