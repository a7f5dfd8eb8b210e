package host

import (
	"context"
	"errors"
	"io/fs"

	"breakwater/internal/action"
	"breakwater/internal/authority"
	"breakwater/internal/ledger/store"
	"breakwater/internal/wire"

	"go.temporal.io/sdk/interceptor"
	"go.temporal.io/sdk/temporal"
)

// Interceptor is the one border between our errors and Temporal's: it makes
// final errors final and names their type.
type Interceptor struct {
	interceptor.WorkerInterceptorBase
}

// InterceptActivity wraps every activity.
func (*Interceptor) InterceptActivity(_ context.Context, next interceptor.ActivityInboundInterceptor) interceptor.ActivityInboundInterceptor {
	i := &inbound{}
	i.Next = next
	return i
}

type inbound struct {
	interceptor.ActivityInboundInterceptorBase
}

// ExecuteActivity runs the activity and classifies its error.
func (i *inbound) ExecuteActivity(ctx context.Context, in *interceptor.ExecuteActivityInput) (any, error) {
	res, err := i.Next.ExecuteActivity(ctx, in)
	return res, classify(err)
}

// classify gives an error the type that the interpreter and people tell it by.
// What is not listed here may be cured by trying again.
func classify(err error) error {
	final := func(kind string) error {
		return temporal.NewNonRetryableApplicationError(err.Error(), kind, nil)
	}
	var void *authority.VoidError
	switch {
	case err == nil:
		return nil
	case errors.As(err, &void):
		return temporal.NewNonRetryableApplicationError(err.Error(), wire.ErrTypeRefused, nil, void.People)
	case errors.Is(err, errBadInput):
		return final(wire.ErrTypeBadInput)
	case errors.Is(err, action.ErrMoved):
		return final(wire.ErrTypeMoved)
	case errors.Is(err, store.ErrSuperseded):
		return final(wire.ErrTypeFenced)
	case errors.Is(err, store.ErrHeld):
		return final(wire.ErrTypeHeld)
	case errors.Is(err, store.ErrForked):
		return final(wire.ErrTypeForked)
	case errors.Is(err, action.ErrRefused), errors.Is(err, store.ErrDigest), errors.Is(err, store.ErrPlanted):
		return final(wire.ErrTypeRefused)
	case errors.Is(err, fs.ErrPermission):
		return final(wire.ErrTypeDenied)
	}
	return err
}
