package kafka

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"breakwater/internal/kafka"
)

// admin is a raw client of the ADMIN listener: the laboratory prepares servers
// without the code that it is there to test.
func (b *Broker) admin() (*kadm.Client, error) {
	adm, err := kadm.NewOptClient(kgo.SeedBrokers(b.Admin()), kgo.ClientID("breakwater-lab"))
	if err != nil {
		return nil, fmt.Errorf("administer broker %s: %w", b.Config.Name, err)
	}
	return adm, nil
}

// CreateTopic makes a topic with one replica; one that exists is left as it is.
func (b *Broker) CreateTopic(ctx context.Context, name string, partitions int32) error {
	adm, err := b.admin()
	if err != nil {
		return err
	}
	defer adm.Close()
	if _, err := adm.CreateTopic(ctx, partitions, 1, nil, name); err != nil && !errors.Is(err, kerr.TopicAlreadyExists) {
		return fmt.Errorf("create topic %s at broker %s: %w", name, b.Config.Name, b.Explain(ctx, err))
	}
	return nil
}

// AllowProduce lets a user write to the topics with a prefix.
func (b *Broker) AllowProduce(ctx context.Context, user, topics string) error {
	return b.allow(ctx, kadm.NewACLs().Allow("User:"+user).AllowHosts().
		ResourcePatternType(kadm.ACLPatternPrefixed).Topics(topics).
		Operations(kadm.OpDescribe, kadm.OpWrite))
}

// AllowConsume lets a user read the topics, and commit for the groups, with a prefix.
func (b *Broker) AllowConsume(ctx context.Context, user, topics, groups string) error {
	return b.allow(ctx, kadm.NewACLs().Allow("User:"+user).AllowHosts().
		ResourcePatternType(kadm.ACLPatternPrefixed).Topics(topics).Groups(groups).
		Operations(kadm.OpDescribe, kadm.OpRead))
}

func (b *Broker) allow(ctx context.Context, acls *kadm.ACLBuilder) error {
	adm, err := b.admin()
	if err != nil {
		return err
	}
	defer adm.Close()
	made, err := adm.CreateACLs(ctx, acls)
	for _, m := range made {
		err = errors.Join(err, m.Err)
	}
	if err != nil {
		return fmt.Errorf("create ACLs at broker %s: %w", b.Config.Name, b.Explain(ctx, err))
	}
	return nil
}

// GroupRow is a line of kafka-consumer-groups --describe.
type GroupRow struct {
	Committed int64 // CURRENT-OFFSET; -1 where it shows "-"
	End       int64 // LOG-END-OFFSET
	Lag       int64 // LAG; -1 where it shows "-"
}

// DescribeGroup runs Kafka's own kafka-consumer-groups (the class behind that
// script; about 2 s), as a second opinion on committed offsets. A group without
// any row is an error.
func DescribeGroup(ctx context.Context, jars, bootstrap, group string) (map[kafka.Partition]GroupRow, error) {
	fail := func(err error) (map[kafka.Partition]GroupRow, error) {
		return nil, fmt.Errorf("describe group %s at %s with Kafka's own command: %w", group, bootstrap, err)
	}
	bin, err := java()
	if err != nil {
		return fail(err)
	}
	if err := complete(jars); err != nil {
		return fail(err)
	}
	cmd := exec.CommandContext(ctx, bin, jvm("", jars, "org.apache.kafka.tools.consumer.group.ConsumerGroupCommand",
		"--bootstrap-server", bootstrap, "--describe", "--group", group)...)
	out, err := cmd.Output()
	if err != nil {
		var exit *exec.ExitError
		if errors.As(err, &exit) {
			err = fmt.Errorf("%w: %s%s", err, out, exit.Stderr)
		}
		return fail(err)
	}
	rows, err := parseGroup(string(out))
	if err != nil {
		return fail(err)
	}
	return rows, nil
}

// parseGroup reads the columns by their names: members add columns at the end.
func parseGroup(text string) (map[kafka.Partition]GroupRow, error) {
	var columns map[string]int
	rows := make(map[kafka.Partition]GroupRow)
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		switch {
		case len(f) == 0:
			continue
		case f[0] == "GROUP":
			columns = make(map[string]int, len(f))
			for i, name := range f {
				columns[name] = i
			}
			continue
		case columns == nil:
			continue // a warning before the table
		}
		number := func(column string) (int64, error) {
			i, ok := columns[column]
			if !ok || i >= len(f) {
				return 0, fmt.Errorf("no column %s in %q", column, line)
			}
			if f[i] == "-" {
				return -1, nil
			}
			return strconv.ParseInt(f[i], 10, 64)
		}
		id, err := number("PARTITION")
		committed, err1 := number("CURRENT-OFFSET")
		end, err2 := number("LOG-END-OFFSET")
		lag, err3 := number("LAG")
		if err := errors.Join(err, err1, err2, err3); err != nil {
			return nil, fmt.Errorf("read %q: %w", line, err)
		}
		rows[kafka.Partition{Topic: f[columns["TOPIC"]], ID: int32(id)}] = GroupRow{committed, end, lag}
	}
	if len(rows) == 0 {
		return nil, fmt.Errorf("it shows no partition: %q", text)
	}
	return rows, nil
}
