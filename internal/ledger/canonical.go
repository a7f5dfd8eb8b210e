package ledger

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
)

// Canonical rewrites one JSON value so that equal values have equal bytes:
// members sorted by name (bytewise), no white space, nothing escaped that need
// not be, and numbers kept as they were written, since 1.10 may be a decimal.
// A name that stands twice in one object is an error: readers disagree on which
// of the two counts.
func Canonical(value []byte) ([]byte, error) {
	// Finds every mistake of syntax, and nesting so deep that walking it would
	// end the process.
	if err := json.Unmarshal(value, new(json.RawMessage)); err != nil {
		return nil, fmt.Errorf("canonical JSON: %w", err)
	}
	dec := json.NewDecoder(bytes.NewReader(value))
	dec.UseNumber()
	var out bytes.Buffer
	if err := canonical(dec, &out); err != nil {
		return nil, fmt.Errorf("canonical JSON: %w", err)
	}
	return out.Bytes(), nil
}

// Encode returns v as canonical JSON with a final newline: the bytes of every
// document in the ledger.
func Encode(v any) ([]byte, error) {
	raw, err := json.Marshal(v)
	if err != nil {
		return nil, fmt.Errorf("encode a document of the ledger: %w", err)
	}
	data, err := Canonical(raw)
	if err != nil {
		return nil, fmt.Errorf("encode a document of the ledger: %w", err)
	}
	return append(data, '\n'), nil
}

func canonical(dec *json.Decoder, out *bytes.Buffer) error {
	tok, err := dec.Token()
	if err != nil {
		return noEOF(err)
	}
	switch tok := tok.(type) {
	case json.Delim:
		if tok == '[' {
			return canonicalArray(dec, out)
		}
		return canonicalObject(dec, out)
	case json.Number:
		out.WriteString(tok.String())
		return nil
	default:
		return plain(tok, out)
	}
}

func canonicalArray(dec *json.Decoder, out *bytes.Buffer) error {
	out.WriteByte('[')
	for first := true; dec.More(); first = false {
		if !first {
			out.WriteByte(',')
		}
		if err := canonical(dec, out); err != nil {
			return err
		}
	}
	out.WriteByte(']')
	_, err := dec.Token()
	return noEOF(err)
}

func canonicalObject(dec *json.Decoder, out *bytes.Buffer) error {
	type member struct {
		name  string
		value []byte
	}
	var members []member
	for dec.More() {
		tok, err := dec.Token()
		if err != nil {
			return noEOF(err)
		}
		name, ok := tok.(string)
		if !ok {
			return fmt.Errorf("%v stands where a member's name is due", tok)
		}
		var value bytes.Buffer
		if err := canonical(dec, &value); err != nil {
			return err
		}
		members = append(members, member{name, value.Bytes()})
	}
	if _, err := dec.Token(); err != nil {
		return noEOF(err)
	}
	slices.SortStableFunc(members, func(a, b member) int { return strings.Compare(a.name, b.name) })
	out.WriteByte('{')
	for i, m := range members {
		if i > 0 {
			if members[i-1].name == m.name {
				return fmt.Errorf("member %q stands twice in one object", m.name)
			}
			out.WriteByte(',')
		}
		if err := plain(m.name, out); err != nil {
			return err
		}
		out.WriteByte(':')
		out.Write(m.value)
	}
	out.WriteByte('}')
	return nil
}

// plain writes v without the escapes that encoding/json adds for browsers.
func plain(v any, out *bytes.Buffer) error {
	enc := json.NewEncoder(out)
	enc.SetEscapeHTML(false)
	if err := enc.Encode(v); err != nil {
		return err
	}
	out.Truncate(out.Len() - 1) // Encode's newline
	return nil
}

func noEOF(err error) error {
	if errors.Is(err, io.EOF) {
		return io.ErrUnexpectedEOF
	}
	return err
}
