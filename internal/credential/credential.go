// Package credential turns references into credentials, and keeps credentials
// out of whatever is printed.
//
// A reference is what an estate may hold and a history may show:
//
//	vault:MOUNT/PATH          a whole secret of a KV version 2 engine
//	vault:MOUNT/PATH#FIELD    one field of it
//	env:NAME                  a variable of this process's environment
//	file:PATH                 a file; relative to the folder of the estate file
//
// MOUNT is the first element. What it leads to is a JSON object of texts, such as
// {"access_key": "…", "secret_key": "…"}, or any other text, which counts as
// {"value": "…"}. A newline at the end of a text is not part of it.
//
// Resolving is left to the process that uses the credential, at the moment of use.
package credential

import (
	"errors"
	"fmt"
	"regexp"
	"strings"
)

// ErrReference means that a reference is not one: nothing was looked up.
var ErrReference = errors.New("not a credential reference")

// Scheme says where a reference points.
type Scheme string

// The schemes.
const (
	Vault Scheme = "vault"
	Env   Scheme = "env"
	File  Scheme = "file"
)

// Reference is a parsed reference. It holds no secret.
type Reference struct {
	Scheme Scheme
	Mount  string // vault: the engine
	Path   string // vault: the secret in the engine; file: the path
	Field  string // vault: one field; empty for the whole secret
	Name   string // env: the variable
}

var (
	variable = regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*$`)
	element  = regexp.MustCompile(`^[A-Za-z0-9._=@+-]+$`)
)

// Parse reads a reference. The error is [ErrReference] and says what is allowed;
// it shows no more of the text than the scheme, for the text may be a secret that
// somebody has written there by mistake.
func Parse(text string) (Reference, error) {
	scheme, rest, found := strings.Cut(text, ":")
	bad := func(why string) (Reference, error) {
		return Reference{}, fmt.Errorf("%w: %s; write vault:MOUNT/PATH#FIELD, env:NAME or file:PATH", ErrReference, why)
	}
	switch {
	case text == "":
		return bad("it is empty")
	case !found:
		return bad("it has no scheme")
	}
	switch Scheme(scheme) {
	case Vault:
		return parseVault(rest, bad)
	case Env:
		if !variable.MatchString(rest) {
			return bad("what follows env: is not the name of a variable")
		}
		return Reference{Scheme: Env, Name: rest}, nil
	case File:
		if rest == "" || strings.ContainsAny(rest, "\x00\n\r") || strings.HasSuffix(rest, "/") || strings.TrimSpace(rest) != rest {
			return bad("what follows file: is not the path of a file")
		}
		return Reference{Scheme: File, Path: rest}, nil
	}
	return bad("its scheme is unknown")
}

func parseVault(rest string, bad func(string) (Reference, error)) (Reference, error) {
	location, field, hasField := strings.Cut(rest, "#")
	if hasField && !element.MatchString(field) {
		return bad("what follows # is not the name of a field")
	}
	elements := strings.Split(location, "/")
	if len(elements) < 2 {
		return bad("what follows vault: is not MOUNT/PATH")
	}
	for _, e := range elements {
		if !element.MatchString(e) || e == "." || e == ".." {
			return bad("what follows vault: has an empty or strange element")
		}
	}
	return Reference{Scheme: Vault, Mount: elements[0], Path: strings.Join(elements[1:], "/"), Field: field}, nil
}

// String writes the reference as [Parse] reads it.
func (r Reference) String() string {
	switch r.Scheme {
	case Vault:
		s := "vault:" + r.Mount + "/" + r.Path
		if r.Field != "" {
			s += "#" + r.Field
		}
		return s
	case Env:
		return "env:" + r.Name
	case File:
		return "file:" + r.Path
	}
	return ""
}
