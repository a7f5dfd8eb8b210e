package hold

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"time"

	"breakwater/internal/kafka"
	"breakwater/internal/poll"
	"breakwater/internal/reach"
)

// Bar keeps the mirror out of a group for good: its principal may not commit for it.
// While that is seen to be so nobody needs to watch the group. Its JSON is part of
// plans.
type Bar struct {
	Principal string `json:"principal"`     // such as User:mirror
	Put       bool   `json:"put,omitempty"` // a denial is to be put; without it the principal is kept out already
}

// Rights are the target's ACLs, as who may change them; *kafka.Client is one. The
// methods do what that one's do.
type Rights interface {
	Access(ctx context.Context, principal, group string) (kafka.Access, error)
	MayAlterCluster(ctx context.Context) (bool, error)
	DenyCommits(ctx context.Context, principal, group string) error
}

// Intruder is a connection to the target as the mirror's principal; *kafka.Client is
// one. The methods do what that one's do.
type Intruder interface {
	MayCommit(ctx context.Context, group string) (bool, error)
	MayAlterCluster(ctx context.Context) (bool, error)
}

// Open connects anew as the mirror's principal. The function ends the connection.
type Open func(context.Context) (Intruder, func(), error)

var (
	_ Rights   = (*kafka.Client)(nil)
	_ Intruder = (*kafka.Client)(nil)
)

// Beside is the group for which the mirror's principal must be let in, so that a
// refusal elsewhere shows anything. Nothing is ever committed for it.
const Beside = "breakwater.hold"

// errNowhere means that the mirror's principal is refused everywhere, so that a refusal
// says nothing of the denial, nor of the mirror.
var errNowhere = fmt.Errorf("it is refused for group %s too, so a refusal shows nothing; let it read that group", Beside)

// KeptOut tries whether the mirror's principal is kept out of a group: it is refused
// there, and let in beside it, by the same credentials at the same time. An error says
// that nothing could be seen. Nothing can come of the attempts.
func KeptOut(ctx context.Context, as Intruder, group string) (bool, error) {
	may, err := as.MayCommit(ctx, group)
	if err != nil || may {
		return false, err
	}
	beside, err := as.MayCommit(ctx, Beside)
	if err == nil && !beside {
		err = errNowhere
	}
	return err == nil, err
}

// PlanBar plans how the mirror's principal is kept out of a group. Without a bar why
// says what stands against one. It tries with the principal's own credentials, and
// changes nothing.
func PlanBar(ctx context.Context, rights Rights, open Open, principal, group string) (b *Bar, why string, err error) {
	access, err := rights.Access(ctx, principal, group)
	switch {
	case errors.Is(err, kafka.ErrNoAuthorizer):
		return nil, "the cluster has no authorizer, so nobody can be denied anything", nil
	case errors.Is(err, fs.ErrPermission):
		return nil, "the worker may not read the cluster's ACLs; give it DESCRIBE and ALTER on the cluster", nil
	case err != nil:
		return nil, "", err
	}
	as, end, err := open(ctx)
	switch {
	case ctx.Err() != nil:
		return nil, "", context.Cause(ctx)
	case reach.Unreachable(err):
		return nil, "its credentials could not be read: no answer", nil
	case err != nil:
		return nil, err.Error(), nil
	}
	defer end()
	cannot := func(err error) (*Bar, string, error) {
		if ctx.Err() != nil {
			return nil, "", context.Cause(ctx)
		}
		return nil, fmt.Sprintf("nothing could be tried as %s: %s", principal, inShort(err)), nil
	}
	out, err := KeptOut(ctx, as, group)
	if err != nil {
		return cannot(err)
	}
	if out {
		return &Bar{Principal: principal}, "", nil
	}
	// A denial that would bind nobody costs its attempt on the day, and one where no ACL
	// is shuts out everybody else who came in for want of any.
	free, err := as.MayAlterCluster(ctx)
	if err != nil {
		return cannot(err)
	}
	switch {
	case access.Denied:
		return nil, principal + " is denied to commit for it, and commits all the same: it is a super-user, whom no ACL binds", nil
	case !access.Let || free && !access.Free:
		return nil, principal + " is let in by no ACL: it is a super-user, whom none binds, or the cluster is open where no ACL is, and the first one would shut others out", nil
	}
	mine, err := rights.MayAlterCluster(ctx)
	if err != nil {
		return nil, "", err
	}
	if !mine {
		return nil, "the worker may not change the cluster's ACLs; give it DESCRIBE and ALTER on the cluster", nil
	}
	return &Bar{Principal: principal, Put: true}, "", nil
}

// inShort is an error as a plan shows it: the same in each attempt, so without ports
// and times.
func inShort(err error) string {
	switch {
	case errors.Is(err, errNowhere):
		return err.Error()
	case errors.Is(err, fs.ErrPermission):
		return "its credentials are refused"
	case errors.Is(err, reach.ErrMisconfigured):
		return "the listener does not take its credentials; it wants the same brokers and mechanism as the worker"
	case reach.Unreachable(err):
		return "no answer"
	}
	return "the answer was of no use"
}

// settles is how long a denial may take until every broker knows it.
const settles = 5 * time.Second

// bar puts the denial and tries it. The text says what was seen, for a summary.
func (k Keeper) bar(ctx context.Context, b Bar) (out bool, text string, mutations int64, err error) {
	if b.Put {
		access, err := k.Rights.Access(ctx, b.Principal, k.Group)
		if err != nil {
			return false, "", 0, err
		}
		if !access.Denied {
			if err := k.Guard(ctx); err != nil {
				return false, "", 0, err
			}
			if err := k.Rights.DenyCommits(ctx, b.Principal, k.Group); err != nil {
				return false, "", 0, err
			}
			mutations++
		}
	}
	as, end, err := k.Open(ctx)
	if err == nil {
		defer end()
		patience, ended := context.WithTimeout(ctx, settles)
		defer ended()
		if poll.Until(patience, again, func(context.Context) (bool, error) {
			out, err = KeptOut(ctx, as, k.Group)
			return out, err
		}) == nil {
			return true, fmt.Sprintf(": a commit as %s is refused, and one for group %s is not", b.Principal, Beside), mutations, nil
		}
	}
	if ctx.Err() != nil {
		return false, "", mutations, context.Cause(ctx)
	}
	if err != nil {
		return false, fmt.Sprintf("; watched, since nothing could be tried as %s: %v", b.Principal, err), mutations, nil
	}
	return false, fmt.Sprintf("; watched, since %s may commit for it, denied or not: it is a super-user, or somebody lets it", b.Principal), mutations, nil
}

// again is the pause before a denial is tried again.
const again = 100 * time.Millisecond
