package lake

import (
	"context"
	"errors"
	"io/fs"

	"breakwater/internal/action"
	"breakwater/internal/plural"
	"breakwater/internal/secret"
)

// ReadableSecret reads a secret of the target with recovery's own token. A refusal is
// an answer. name is how people call it, such as "the sentinel".
func ReadableSecret(ctx context.Context, run action.Run, s secret.Store, path, name string) action.Observation {
	what, want := name+" can be read", "an answer with content from "+s.Name(path)
	now, err := s.Read(ctx, path)
	switch {
	case err == nil:
		return action.Saw(what, want, plural.Of(len(now.Data), "key"), true)
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, fs.ErrPermission), errors.Is(err, secret.ErrSealed), errors.Is(err, secret.ErrNotServing), errors.Is(err, secret.ErrMount):
		return action.Saw(what, want, err.Error(), false)
	}
	return action.Unknown(run, run.Target, what, want, err, "")
}
