package delta

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"

	"github.com/go-json-experiment/json/jsontext"

	"breakwater/internal/strictjson"
)

// The one reader of the log's lines.

// kinds are the actions of the protocol, by their names in the log.
var kinds = map[string]bool{
	"add": true, "remove": true, "metaData": true, "protocol": true, "txn": true, "commitInfo": true,
	"cdc": true, "domainMetadata": true, "sidecar": true, "checkpointMetadata": true,
}

// member is an action of a line: its name, and the object under it.
type member struct {
	kind string
	body json.RawMessage
}

// members are the actions that a line holds: one, but for those of which this package
// knows no name, which are skipped by whoever reads and handed on by whoever writes. A
// name whose value is null holds none: some writers name all of them in every line.
func members(line []byte) ([]member, error) {
	if m, ok := single(line); ok {
		return []member{m}, nil
	}
	d := jsontext.NewDecoder(bytes.NewBuffer(line), jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
	if t, err := d.ReadToken(); err != nil || t.Kind() != '{' {
		return nil, unlike("an object", err)
	}
	var all []member
	known, names := "", map[string]bool{}
	for d.PeekKind() != '}' {
		name, err := d.ReadToken()
		if err != nil {
			return nil, unlike("an object", err)
		}
		m := member{kind: name.String()}
		if m.body, err = value(d); err != nil {
			return nil, unlike("JSON", err)
		}
		if err := spelled(m.kind); err != nil {
			return nil, err
		}
		if names[m.kind] {
			return nil, fmt.Errorf("names %s twice", m.kind)
		}
		names[m.kind] = true
		switch {
		case string(m.body) == "null":
			continue
		case !kinds[m.kind]:
		case known != "":
			return nil, fmt.Errorf("holds both %s and %s: a line has one action, and engines differ in which they would take", known, m.kind)
		default:
			known = m.kind
		}
		all = append(all, m)
	}
	if _, err := d.ReadToken(); err != nil {
		return nil, unlike("an object", err)
	}
	if len(bytes.TrimSpace(line[d.InputOffset():])) > 0 {
		return nil, fmt.Errorf("goes on after its object")
	}
	return all, nil
}

// value is the next value, for longer than until the one after it.
func value(d *jsontext.Decoder) (json.RawMessage, error) {
	v, err := d.ReadValue()
	return json.RawMessage(bytes.Clone(v)), err
}

func unlike(what string, err error) error {
	if err == nil {
		return fmt.Errorf("is not %s", what)
	}
	return fmt.Errorf("is not %s: %w", what, strictjson.Plain(err))
}

// spelled refuses the name of an action in another case: engines skip it as one that
// they do not know, and whoever wrote it did not mean that.
func spelled(name string) error {
	if kinds[name] {
		return nil
	}
	for kind := range kinds {
		if strings.EqualFold(kind, name) {
			return fmt.Errorf("names an action %q, which is no name of the protocol; %q is", name, kind)
		}
	}
	return nil
}

// single reads a line that holds one action, as nearly all do, without taking
// its content apart: {"kind":{...}}.
func single(line []byte) (member, bool) {
	kind, body, ok := bytes.Cut(line, []byte(`":`))
	if !ok || len(kind) < 3 || !bytes.HasPrefix(kind, []byte(`{"`)) || bytes.ContainsAny(kind[2:], `"\`) || len(body) < 3 || line[len(line)-1] != '}' {
		return member{}, false
	}
	body = bytes.TrimSpace(body[:len(body)-1])
	if name := string(kind[2:]); len(body) > 0 && body[0] == '{' && kinds[name] && valid(body) {
		return member{name, body}, true
	}
	return member{}, false
}

func valid(body []byte) bool {
	return jsontext.Value(body).IsValid(jsontext.AllowDuplicateNames(true), jsontext.AllowInvalidUTF8(true))
}

// whole is [strictjson.Unmarshal] for an object of which a field that is written in another case
// must not be taken for one that is not there, as readerFeatures must not.
func whole(raw []byte, v any, fields ...string) error {
	if err := strictjson.Unmarshal(raw, v); err != nil {
		return err
	}
	var all map[string]jsontext.Value
	if err := strictjson.Unmarshal(raw, &all); err != nil {
		return err
	}
	for name := range all {
		for _, field := range fields {
			if name != field && strings.EqualFold(name, field) {
				return fmt.Errorf("names a field %q, which is no name of the protocol; %q is", name, field)
			}
		}
	}
	return nil
}
