// Package strictjson reads JSON that others wrote as it stands: names count with their
// case, none may come twice in an object, and text has to be UTF-8. Go's own package
// takes a name for another that differs from it in case only, the last of two equal
// names, and mends text without a word. What is wrong is said in words that name no type
// of Go.
package strictjson

import (
	"errors"
	"fmt"

	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
)

// Unmarshal reads a JSON value into v, as RFC 8259 has it, with the tags of
// encoding/json.
func Unmarshal(raw []byte, v any) error { return Plain(json.Unmarshal(raw, v)) }

// Plain says in plain words what an error of the library says. Others it leaves alone.
func Plain(err error) error {
	var kind *json.SemanticError
	var syntax *jsontext.SyntacticError
	switch {
	case errors.As(err, &syntax):
		at := ""
		if syntax.JSONPointer != "" {
			at = " in " + string(syntax.JSONPointer)
		}
		return fmt.Errorf("it is not JSON: %w%s, at byte %d", syntax.Err, at, syntax.ByteOffset)
	case errors.As(err, &kind) && kind.JSONPointer != "":
		return fmt.Errorf("%s is %s, which does not belong there", kind.JSONPointer, named(kind.JSONKind))
	case errors.As(err, &kind):
		return fmt.Errorf("it is %s, which does not belong there", named(kind.JSONKind))
	}
	return err
}

// named is a kind of JSON value in words.
func named(k jsontext.Kind) string {
	switch k {
	case '{':
		return "an object"
	case '[':
		return "a list"
	case '"':
		return "a text"
	case '0':
		return "a number"
	case 't', 'f':
		return "true or false"
	case 'n':
		return "null"
	}
	return "a value"
}
