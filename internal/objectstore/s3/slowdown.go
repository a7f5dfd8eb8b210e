package s3

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	smithyhttp "github.com/aws/smithy-go/transport/http"
)

// A store that answers SlowDown is alive and asks for less: such a request is
// tried slowAttempts times in all, with waits that double from slowWait to
// slowWaitAtMost, together about 20 s. Every request of a recovery that touches
// very many objects at once meets it sooner or later.
const (
	slowAttempts   = 10
	slowWait       = 100 * time.Millisecond
	slowWaitAtMost = 5 * time.Second
)

// slowCodes are the answers that ask for patience, beside those that the SDK knows.
var slowCodes = map[string]struct{}{"SlowDownRead": {}, "SlowDownWrite": {}, "TooManyRequests": {}}

// slow reports whether a store asks for fewer requests.
func slow(err error) bool {
	c := code(err)
	if _, ok := slowCodes[c]; ok {
		return true
	}
	if _, ok := retry.DefaultThrottleErrorCodes[c]; ok {
		return true
	}
	// The answer to a HEAD has no body that could name the code.
	var re *smithyhttp.ResponseError
	return errors.As(err, &re) && re.Response != nil && re.HTTPStatusCode() == http.StatusServiceUnavailable &&
		re.Response.Request != nil && re.Response.Request.Method == http.MethodHead
}

// slowDelay is how long to wait after the attempt of that number, counted from 1.
func slowDelay(attempt int) time.Duration {
	d := min(slowWait<<min(max(attempt-1, 0), 10), slowWaitAtMost)
	return d/2 + rand.N(d/2) // apart from the others that were told the same
}

// patient tries few times what is broken, and often what is asked to slow down.
type patient struct {
	*retry.Standard
	attempts int // of what is broken
}

var _ aws.RetryerV2 = patient{}

// errNoTime ends the attempts where the caller's time would end while we wait: what the
// store said is the cause, and not the caller's limit.
var errNoTime = errors.New("the time for it would end before the next attempt")

// GetRetryToken refuses another attempt for which no time is left.
func (r patient) GetRetryToken(ctx context.Context, err error) (func(error) error, error) {
	if end, ok := ctx.Deadline(); ok && slow(err) && time.Until(end) < slowWaitAtMost {
		return nil, errNoTime
	}
	return r.Standard.GetRetryToken(ctx, err)
}

// RetryDelay returns err itself where the attempts are used up.
func (r patient) RetryDelay(attempt int, err error) (time.Duration, error) {
	switch {
	case slow(err):
		return slowDelay(attempt), nil
	case attempt >= r.attempts:
		return 0, err
	}
	return r.Standard.RetryDelay(attempt, err)
}
