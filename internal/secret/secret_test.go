package secret_test

import (
	"context"
	"errors"
	"io/fs"
	"testing"

	"breakwater/internal/secret"
)

// store answers for its health, and has no secret.
type store struct {
	secret.Store
	health secret.Health
}

func (s store) Health(context.Context) (secret.Health, error) { return s.health, nil }

func (s store) Read(context.Context, string) (secret.Secret, error) {
	return secret.Secret{}, fs.ErrNotExist
}

func (s store) Address() string { return "https://vault.example.org" }

func (s store) Name(path string) string { return "secret/" + path }

// Whoever asks for a secret is told first what is the matter with the store.
func TestReadable(t *testing.T) {
	for text, tc := range map[string]struct {
		health secret.Health
		want   error
	}{
		"read secret/x at https://vault.example.org: serves no secrets: not initialised":                                 {secret.Health{Sealed: true}, secret.ErrNotServing},
		"read secret/x at https://vault.example.org: sealed; unseal it":                                                  {secret.Health{Initialized: true, Sealed: true, Recovery: true}, secret.ErrSealed},
		"read secret/x at https://vault.example.org: serves no secrets: a disaster recovery secondary; promote it first": {secret.Health{Initialized: true, Recovery: true}, secret.ErrNotServing},
		"file does not exist": {secret.Health{Initialized: true}, fs.ErrNotExist},
	} {
		if err := secret.Readable(t.Context(), store{health: tc.health}, "x"); !errors.Is(err, tc.want) || err.Error() != text {
			t.Errorf("Readable = %v, want %s", err, text)
		}
	}
}

func TestHealthInWords(t *testing.T) {
	h := secret.Health{Initialized: true, Recovery: true}
	if got, want := h.String(), "initialised true, sealed false, secondary for disaster recovery true"; got != want {
		t.Errorf("String = %q, want %q", got, want)
	}
}
