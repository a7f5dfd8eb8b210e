package poll_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"breakwater/internal/poll"
)

var errCause = errors.New("the cause")

func TestWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		if err := poll.Wait(t.Context(), time.Minute); err != nil || time.Since(begun) != time.Minute {
			t.Errorf("waited %s, %v", time.Since(begun), err)
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(errCause) })
		begun = time.Now()
		if err := poll.Wait(ctx, time.Minute); !errors.Is(err, errCause) || time.Since(begun) != time.Second {
			t.Errorf("waited %s, %v; want the cause after a second", time.Since(begun), err)
		}
	})
}

func TestUntil(t *testing.T) {
	errNotYet, errNever := errors.New("not yet"), errors.New("never")
	for name, tc := range map[string]struct {
		answers []error // of which the last is final
		want    error
		took    time.Duration
	}{
		"at once":                   {[]error{nil}, nil, 0},
		"after two pauses":          {[]error{errNotYet, nil, nil}, nil, 2 * time.Second},
		"an error that is final":    {[]error{errNotYet, errNever}, errNever, time.Second},
		"a final one asked at once": {[]error{errNever}, errNever, 0},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				begun, asked := time.Now(), 0
				err := poll.Until(t.Context(), time.Second, func(context.Context) (bool, error) {
					asked++
					return asked == len(tc.answers), tc.answers[asked-1]
				})
				if !errors.Is(err, tc.want) || errors.Is(err, errNotYet) || asked != len(tc.answers) || time.Since(begun) != tc.took {
					t.Errorf("asked %d times in %s: %v", asked, time.Since(begun), err)
				}
			})
		})
	}
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeoutCause(t.Context(), 2500*time.Millisecond, errCause)
		defer cancel()
		asked := 0
		err := poll.Until(ctx, time.Second, func(context.Context) (bool, error) { asked++; return false, errNotYet })
		if !errors.Is(err, errNotYet) || !errors.Is(err, errCause) || asked != 3 {
			t.Errorf("asked %d times: %v; want what is missing and the cause", asked, err)
		}
		err = poll.Until(ctx, time.Second, func(context.Context) (bool, error) { return false, nil })
		if !errors.Is(err, errCause) {
			t.Errorf("without a word: %v, want the cause", err)
		}
	})
}
