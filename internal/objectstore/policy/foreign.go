package policy

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
)

// Foreign is a document of somebody's. It knows where one statement ends and the
// next begins, and keeps everything else as it is, numbers to their last digit.
type Foreign struct {
	fields     map[string]json.RawMessage
	statements []json.RawMessage
}

// Taken is a statement that was taken out of a document.
type Taken struct {
	Sid  string
	Text string // JSON
}

// Parse reads a document. An empty text is a document without statements.
func Parse(doc string) (*Foreign, error) {
	if doc == "" {
		return &Foreign{fields: map[string]json.RawMessage{"Version": json.RawMessage(`"` + Language + `"`)}}, nil
	}
	var f Foreign
	if err := json.Unmarshal([]byte(doc), &f.fields); err != nil {
		return nil, fmt.Errorf("policy document: %w", err)
	}
	if f.fields == nil {
		return nil, errors.New("policy document: it is null")
	}
	switch s := bytes.TrimSpace(f.fields["Statement"]); {
	case len(s) == 0:
	case s[0] == '[':
		if err := json.Unmarshal(s, &f.statements); err != nil {
			return nil, fmt.Errorf("policy statements: %w", err)
		}
	default: // a single statement may stand without a list
		f.statements = []json.RawMessage{s}
	}
	return &f, nil
}

// Take takes the statements of which mine knows the Sid out of the document.
func (f *Foreign) Take(mine func(sid string) bool) ([]Taken, error) {
	var taken []Taken
	var rest []json.RawMessage
	for _, s := range f.statements {
		var head struct{ Sid string }
		if err := json.Unmarshal(s, &head); err != nil {
			return nil, fmt.Errorf("statement: %w", err)
		}
		if mine(head.Sid) {
			taken = append(taken, Taken{Sid: head.Sid, Text: string(s)})
		} else {
			rest = append(rest, s)
		}
	}
	f.statements = rest
	return taken, nil
}

// Add puts a statement at the end of the document.
func (f *Foreign) Add(s Statement) error {
	text, err := s.JSON()
	if err != nil {
		return err
	}
	f.statements = append(f.statements, text)
	return nil
}

// Text is the document; empty if nothing is left to say, for a policy without
// statements is refused.
func (f *Foreign) Text() (string, error) {
	if len(f.statements) == 0 {
		return "", nil
	}
	list, err := json.Marshal(f.statements)
	if err != nil {
		return "", fmt.Errorf("policy statements: %w", err)
	}
	f.fields["Statement"] = list
	doc, err := json.Marshal(f.fields)
	if err != nil {
		return "", fmt.Errorf("policy document: %w", err)
	}
	return string(doc), nil
}
