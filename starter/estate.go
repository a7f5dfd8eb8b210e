package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"time"

	"breakwater/internal/estate"
	"breakwater/internal/ledger"
	"breakwater/internal/mirror"
	"breakwater/internal/reach"
	"breakwater/internal/runbook/load"
	"breakwater/internal/secret"
	"breakwater/internal/sshsig"
	"breakwater/internal/table"
	"breakwater/internal/verdict"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
)

func (a *app) estateCommand() *cobra.Command {
	var live bool
	check := &cobra.Command{
		Use: "check FILE|NAME", Short: "Check an estate, and with --live also what it names",
		Long: `Checks an estate file: its form, its names, its roles, and that the runbooks fit
it. What a step cannot pass without is a mistake; a finding says what else the
estate lacks, and what that costs on the day. With --live it also asks all that
the estate names: each region's storage, tables, brokers, topics, connectors and
vault, the ledger, and whether every credential is there. It changes nothing.

What did not answer is unknown, and unknown has not passed: the exit code is 3
if that is the worst, and 1 if anything answered wrong.`,
		Example: "  breakwater estate check estates/lab.yaml\n  breakwater estate check lab --live",
		Args:    exactly(1),
		RunE:    func(c *cobra.Command, args []string) error { return a.checkEstate(c.Context(), args[0], live) },
	}
	check.Flags().BoolVar(&live, "live", false, "also ask every system that the estate names")
	return group(&cobra.Command{Use: "estate", Short: "Check an estate, and say what its credentials must be allowed"}, check, a.policiesCommand())
}

// soundEstate reads an estate that has no mistakes in itself; any are said.
func (a *app) soundEstate(ctx context.Context, given string) (*estate.Estate, error) {
	e, ms, err := a.estateFile(ctx, given)
	if err != nil {
		return nil, err
	}
	a.mistakes(ms)
	if len(ms) > 0 {
		return nil, wrong(errFailed, "", "%s in estate %s", countOf(int64(len(ms)), "mistake", "mistakes"), given)
	}
	return e, nil
}

func (a *app) checkEstate(ctx context.Context, given string, live bool) error {
	e, err := a.soundEstate(ctx, given)
	if err != nil {
		return err
	}
	books, ms := load.Lint(a.cfg.RunbookFS(), a.catalogue(), e)
	if len(ms) > 0 {
		a.mistakes(under(a.cfg.Runbooks, ms))
		a.fits(books, e) // what else is lacking, so that it need not be found out in a second round
		return wrong(errFailed, "", "%s between estate %s and %s", countOf(int64(len(ms)), "mistake", "mistakes"), e.Estate, a.cfg.From())
	}
	counts := map[estate.Kind]int{}
	for _, k := range estate.Kinds() {
		counts[k] = len(e.Items(k, estate.Filter{}))
	}
	digest, err := e.Digest()
	if err != nil {
		return err
	}
	if a.json {
		a.line("estate", struct {
			Estate string              `json:"estate"`
			Digest string              `json:"digest"`
			Items  map[estate.Kind]int `json:"items"`
		}{e.Estate, digest, counts})
	}
	a.say("%s: %s, %s, %s, %s, %s, %s; no mistake", e.Estate, count(len(e.Regions), "region"), count(len(e.Tiers), "tier"),
		count(counts[estate.GroupKind], "group"), count(counts[estate.TableKind], "table"), count(counts[estate.TopicKind], "topic"), count(len(e.Roles), "role"))
	a.fits(books, e)
	if !live {
		return nil
	}
	return a.checkLive(ctx, e)
}

// look is one question to a system that the estate names.
type look struct {
	where, what string
	ask         func(context.Context) error
	verdict     verdict.Verdict
	err         error
}

// lookTimeout is how long one question may take.
const lookTimeout = 10 * time.Second

func (a *app) checkLive(ctx context.Context, e *estate.Estate) error {
	looks := a.looks(e)
	g, gctx := errgroup.WithContext(ctx)
	g.SetLimit(8)
	for _, l := range looks {
		g.Go(func() error {
			lctx, cancel := context.WithTimeout(gctx, lookTimeout)
			defer cancel()
			l.err = l.ask(lctx)
			switch {
			case l.err == nil:
				l.verdict = verdict.Pass
			case errors.Is(l.err, fs.ErrPermission): // wrong credentials are the estate's
				l.verdict = verdict.Fail
			case reach.Unreachable(l.err), errors.Is(l.err, reach.ErrUnseen):
				l.verdict = verdict.Unknown
			default:
				l.verdict = verdict.Fail
			}
			return nil // the others are asked all the same
		})
	}
	if err := g.Wait(); err != nil {
		return err
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	var all []verdict.Verdict
	counts := map[verdict.Verdict]int{}
	for _, l := range looks {
		all = append(all, l.verdict)
		counts[l.verdict]++
		text := ""
		if l.err != nil {
			text = l.err.Error()
		}
		if a.json {
			a.line("look", struct {
				Where   string          `json:"where"`
				What    string          `json:"what"`
				Verdict verdict.Verdict `json:"verdict"`
				Error   string          `json:"error,omitempty"`
			}{l.where, l.what, l.verdict, text})
			continue
		}
		line := fmt.Sprintf("%-8s %-14s %s", l.verdict, l.where, l.what)
		if text != "" {
			line += ": " + text
		}
		for _, w := range wrap(line, 80, "           ") {
			fmt.Fprintln(a.out, w)
		}
	}
	summary := fmt.Sprintf("estate %s: %d pass, %d fail, %d unknown", e.Estate, counts[verdict.Pass], counts[verdict.Fail], counts[verdict.Unknown])
	switch verdict.Worst(all...) {
	case verdict.Pass:
		a.say("%s", summary)
		return nil
	case verdict.Fail:
		return wrong(errFailed, "", "%s", summary)
	default:
		return wrong(errUnknown, "", "%s", summary)
	}
}

// looks are the questions to everything that the estate names.
func (a *app) looks(e *estate.Estate) []*look {
	var all []*look
	add := func(where, what string, ask func(context.Context) error) {
		all = append(all, &look{where: where, what: what, ask: ask})
	}
	add("ledger", "can be listed", func(ctx context.Context) error {
		s, err := a.systems.Ledger(ctx, e)
		if err != nil {
			return err
		}
		return first(s.List(ctx, ledger.RunsPrefix))
	})
	add("ledger", "the worker's signing key is one of the signers", func(ctx context.Context) error {
		key, err := a.systems.Signer(ctx, e)
		if err != nil {
			return err
		}
		trusted, err := e.Ledger.Trusted(time.Now())
		if err != nil {
			return err
		}
		if mine := sshsig.Public(key); !slices.ContainsFunc(trusted, mine.Equal) {
			return fmt.Errorf("%s leads to key %s, which is not among the estate's signers of now; add its public key there", e.Ledger.SigningKey, mine.Fingerprint())
		}
		return nil
	})
	for i := range e.Regions {
		r := &e.Regions[i]
		a.storageLooks(e, r, add)
		a.kafkaLooks(e, r, add)
		a.vaultLooks(e, r, add)
	}
	return all
}

// first takes the first of a sequence: that it can be listed is what is asked.
func first[T any](seq func(func(T, error) bool)) error {
	for _, err := range seq {
		return err
	}
	return nil
}

type adder = func(where, what string, ask func(context.Context) error)

func (a *app) storageLooks(e *estate.Estate, r *estate.Region, add adder) {
	for _, b := range e.Buckets {
		add(r.Region, "bucket "+b.Bucket+" can be listed", func(ctx context.Context) error {
			bucket, err := a.systems.Bucket(ctx, e, r.Region, b.Bucket)
			if err != nil {
				return err
			}
			return first(bucket.List(ctx, ""))
		})
	}
	for _, g := range e.Groups {
		for _, t := range g.Tables {
			add(r.Region, "table "+t.Table+" has a log", func(ctx context.Context) error {
				bucket, err := a.systems.Bucket(ctx, e, r.Region, t.Bucket)
				if err != nil {
					return err
				}
				f, err := a.systems.Format(t.Format)
				if err != nil {
					return err
				}
				log := f.Log(table.Root{Prefix: t.Path})
				for _, err := range bucket.List(ctx, log) {
					return err
				}
				return fmt.Errorf("%s holds no object: the table is gone, or its path is another", bucket.URL(log))
			})
		}
	}
	credentials := func(who string, ref estate.Ref) {
		if ref == "" {
			return
		}
		add(r.Region, "the storage credentials of "+who+" are there", func(ctx context.Context) error {
			_, err := a.systems.StorageAs(ctx, e, r.Region, ref, who)
			return err
		})
	}
	credentials("the administrator", r.Storage.Admin)
	for _, w := range r.Storage.Writers {
		credentials("writer "+w.Name, w.Credentials)
	}
	if r.Storage.Replication != nil {
		credentials("the replication "+r.Storage.Replication.Name, r.Storage.Replication.Credentials)
	}
	for _, g := range e.Groups {
		if g.Access == nil {
			continue
		}
		for _, p := range slices.Concat(g.Access.Readers, g.Access.Writers) {
			if p.Region == r.Region {
				credentials(p.Name+" of group "+g.Group, p.Credentials)
			}
		}
	}
}

func (a *app) kafkaLooks(e *estate.Estate, r *estate.Region, add adder) {
	if r.Kafka != nil {
		add(r.Region, "kafka is cluster "+r.Kafka.ClusterID, func(ctx context.Context) error {
			_, err := a.systems.KafkaToChange(ctx, e, r.Region)
			return err
		})
		names := a.systems.Names(e, e.Primary(), r.Region)
		for _, g := range e.Groups {
			for _, t := range g.Topics {
				topic := names.AtTarget(t.Topic)
				add(r.Region, "topic "+topic+" is there", func(ctx context.Context) error {
					k, err := a.systems.Kafka(ctx, e, r.Region)
					if err != nil {
						return err
					}
					_, err = k.Partitions(ctx, topic)
					return err
				})
			}
			for _, c := range g.ConsumerGroups {
				add(r.Region, "group "+c.ConsumerGroup+", if it is there, is a consumer group", func(ctx context.Context) error {
					k, err := a.systems.Kafka(ctx, e, r.Region)
					if err != nil {
						return err
					}
					if _, err = k.GroupState(ctx, c.ConsumerGroup); errors.Is(err, fs.ErrNotExist) {
						return nil
					}
					return err
				})
			}
		}
	}
	if r.Connect == nil {
		return
	}
	a.mirrorLook(e, r, add)
	for _, connector := range r.Connect.Connectors() {
		add(r.Region, "connector "+connector+" runs", func(ctx context.Context) error {
			m, err := a.systems.Mirror(ctx, e, "", r.Region)
			if err != nil {
				return err
			}
			l, err := m.Look(ctx, connector)
			switch {
			case err != nil:
				return err
			case l.State == mirror.Missing:
				return errors.New(l.Said)
			case !l.Works:
				return fmt.Errorf("it is %s", l.Said)
			}
			return nil
		})
	}
}

// mirrorLook holds what the estate says of the mirror against the mirror. With two other
// clusters it is not known from which of them it copies.
func (a *app) mirrorLook(e *estate.Estate, r *estate.Region, add adder) {
	var from []string
	for _, o := range e.Regions {
		if o.Region != r.Region && o.Kafka != nil {
			from = append(from, o.Region)
		}
	}
	if len(from) != 1 {
		return
	}
	add(r.Region, "the mirror is the one that the estate describes", func(ctx context.Context) error {
		m, err := a.systems.Mirror(ctx, e, from[0], r.Region)
		if err != nil {
			return err
		}
		auditor, can := m.(mirror.Auditor)
		if !can {
			return nil
		}
		odd, err := auditor.Contradictions(ctx)
		if err == nil && len(odd) > 0 {
			return errors.New(strings.Join(odd, "; "))
		}
		return err
	})
}

func (a *app) vaultLooks(e *estate.Estate, r *estate.Region, add adder) {
	if r.Vault == nil {
		return
	}
	add(r.Region, "the vault serves "+r.Vault.Sentinel, func(ctx context.Context) error {
		s, err := a.systems.Secrets(ctx, e, r.Region)
		if err != nil {
			return err
		}
		return secret.Readable(ctx, s, r.Vault.Sentinel)
	})
	for _, g := range e.Groups {
		if g.Routing == nil {
			continue
		}
		add(r.Region, "the routing secret of "+g.Group+" can be read", func(ctx context.Context) error {
			s, err := a.systems.Secrets(ctx, e, r.Region)
			if err != nil {
				return err
			}
			_, err = s.Read(ctx, g.Routing.Secret)
			return err
		})
	}
}
