package kafka

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// ErrNoAuthorizer means that the cluster has no authorizer: it keeps no ACLs, and
// everybody may do everything.
var ErrNoAuthorizer = errors.New("the cluster has no authorizer")

// Access is what a cluster's ACLs say of one principal and one consumer group.
type Access struct {
	Let    bool // an ACL lets it commit for the group
	Denied bool // the denial of [Client.DenyCommits] stands
	// Free means that an ACL lets it change the cluster. Who can do that without one is
	// bound by no ACL: a super-user, or one of a cluster that is open where no ACL is.
	Free bool
}

// Access asks what the ACLs say of a principal, such as User:mirror, and a group.
// [ErrNoAuthorizer] is in the chain where there are none.
func (c *Client) Access(ctx context.Context, principal, group string) (Access, error) {
	doing := fmt.Sprintf("ask for the ACLs of %s and group %s", principal, group)
	ctx, cancel := c.bound(ctx)
	defer cancel()
	var a Access
	for _, ask := range []*kadm.ACLBuilder{kadm.NewACLs().Groups(group), kadm.NewACLs().Clusters()} {
		got, err := c.adm.DescribeACLs(ctx, ask.Operations(kadm.OpAny).
			Allow().AllowHosts().Deny().DenyHosts().ResourcePatternType(kadm.ACLPatternMatch))
		for _, r := range got {
			err = errors.Join(err, r.Err)
		}
		if err != nil {
			return Access{}, c.explain(ctx, doing, noAuthorizer(err))
		}
		for _, r := range got {
			for _, acl := range r.Described {
				a.read(acl, principal, group)
			}
		}
	}
	return a, nil
}

// read takes one ACL into account that is about the group or the cluster.
func (a *Access) read(acl kadm.DescribedACL, principal, group string) {
	is := func(ops ...kadm.ACLOperation) bool { return slices.Contains(append(ops, kadm.OpAll), acl.Operation) }
	meant := acl.Principal == principal || acl.Principal == "User:*"
	switch allow := acl.Permission == kmsg.ACLPermissionTypeAllow; {
	case acl.Type == kmsg.ACLResourceTypeCluster:
		a.Free = a.Free || allow && meant && is(kadm.OpAlter)
	case allow:
		a.Let = a.Let || meant && is(kadm.OpRead)
	case acl.Principal == principal && acl.Host == "*" && acl.Operation == kadm.OpRead && acl.Pattern == kadm.ACLPatternLiteral && acl.Name == group:
		a.Denied = true
	}
}

// noAuthorizer adds the sentinel of a cluster without ACLs.
func noAuthorizer(err error) error {
	if errors.Is(err, kerr.SecurityDisabled) {
		return fmt.Errorf("%w: %w", ErrNoAuthorizer, err)
	}
	return err
}

// commits is the ACL that keeps a principal from committing for a group, from
// wherever it comes: READ is what a commit asks for.
func commits(principal, group string) *kadm.ACLBuilder {
	return kadm.NewACLs().Deny(principal).DenyHosts("*").Groups(group).
		ResourcePatternType(kadm.ACLPatternLiteral).Operations(kadm.OpRead)
}

// DenyCommits keeps a principal from committing for a group, also in connections that
// it has. A denial that stands is left as it is. It binds no super-user.
func (c *Client) DenyCommits(ctx context.Context, principal, group string) error {
	doing := fmt.Sprintf("deny %s to commit for group %s", principal, group)
	ctx, cancel := c.bound(ctx)
	defer cancel()
	made, err := c.adm.CreateACLs(ctx, commits(principal, group))
	for _, m := range made {
		err = errors.Join(err, m.Err)
	}
	return c.explain(ctx, doing, noAuthorizer(err))
}

// AllowCommits takes the denial of [Client.DenyCommits] away, and no other. One that is
// not there is no error.
func (c *Client) AllowCommits(ctx context.Context, principal, group string) error {
	doing := fmt.Sprintf("take away that %s may not commit for group %s", principal, group)
	ctx, cancel := c.bound(ctx)
	defer cancel()
	gone, err := c.adm.DeleteACLs(ctx, commits(principal, group))
	for _, r := range gone {
		err = errors.Join(err, r.Err)
		for _, d := range r.Deleted {
			err = errors.Join(err, d.Err)
		}
	}
	return c.explain(ctx, doing, noAuthorizer(err))
}

// nowhere is no topic: none can have a slash in its name.
const nowhere = "breakwater/nowhere"

// MayCommit tries whether this client may commit for a group. Nothing can come of it,
// whatever the group: it commits for a topic that no cluster can have, and whether the
// client may is what a broker looks at first. An error says that neither was seen.
func (c *Client) MayCommit(ctx context.Context, group string) (may bool, err error) {
	err = c.coordinated(ctx, func(ctx context.Context) error {
		may, err = c.mayCommit(ctx, group)
		return err
	})
	return may, err
}

func (c *Client) mayCommit(ctx context.Context, group string) (bool, error) {
	doing := "try whether one may commit for group " + group
	req := kmsg.NewPtrOffsetCommitRequest()
	req.Group = group
	t, p := kmsg.NewOffsetCommitRequestTopic(), kmsg.NewOffsetCommitRequestTopicPartition()
	t.Topic, t.Partitions = nowhere, append(t.Partitions, p) // and no topic's id, which newer brokers go by
	req.Topics = append(req.Topics, t)
	got, err := req.RequestWith(ctx, c.cl)
	if err == nil {
		err = errors.New("the broker answered without the partition")
		for _, t := range got.Topics {
			for _, p := range t.Partitions {
				err = kerr.ErrorForCode(p.ErrorCode)
			}
		}
	}
	is := func(target error) bool { return errors.Is(err, target) }
	switch {
	case is(kerr.GroupAuthorizationFailed):
		return false, nil
	case slices.ContainsFunc([]error{ // for the group it may, and that is all that was asked
		kerr.UnknownTopicOrPartition, kerr.UnknownTopicID, kerr.InvalidTopicException, kerr.TopicAuthorizationFailed,
		kerr.UnknownMemberID, kerr.IllegalGeneration, kerr.RebalanceInProgress,
	}, is):
		return true, nil
	case err == nil:
		err = fmt.Errorf("the broker took a commit for %s, which is no topic", nowhere)
	}
	return false, c.explain(ctx, doing, err)
}

// MayAlterCluster reports whether the brokers let this client change the cluster. Only
// what they say is asked; a client that may not even describe it may not.
func (c *Client) MayAlterCluster(ctx context.Context) (bool, error) {
	ctx, cancel := c.bound(ctx)
	defer cancel()
	req := kmsg.NewPtrDescribeClusterRequest()
	req.IncludeClusterAuthorizedOperations = true
	got, err := req.RequestWith(ctx, c.cl)
	if err == nil {
		err = kerr.ErrorForCode(got.ErrorCode)
	}
	if err != nil {
		return false, c.explain(ctx, "ask what this user may do to the cluster", err)
	}
	return slices.Contains(kadm.DecodeACLOperations(got.ClusterAuthorizedOperations), kadm.OpAlter), nil
}
