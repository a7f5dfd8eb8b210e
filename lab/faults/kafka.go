package faults

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"breakwater/internal/fault"
	"breakwater/internal/poll"
	"breakwater/lab/server"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/s3"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Kafka is a pair of clusters with a mirror between them.
type Kafka struct {
	Source, Target Cluster
	Connect        string // URL of the worker that mirrors into the target
	ConnectPid     int
	Connector      string // the one that copies records
	Topic          string // mirrored
	ConsumerGroup  string // placed at the target

	Mirror      string // the mirror's user at the target, if it has one
	MirrorLogin string // the file of its credentials

	Journal    Storage // of the witness
	JournalKey string  // of the topic
}

// Cluster is a cluster of one broker.
type Cluster struct {
	Brokers []string // host:port; of a listener that lets everybody do everything
	Pid     int
}

// Kafkas are the faults of a mirrored pair.
func Kafkas(k Kafka) fault.Set {
	return fault.Set{
		k.mirrorResumed(),
		k.offsetMoved(),
		frozen("kafka.source-frozen", "the source's broker hangs", k.Source.Pid, k.Source.answers(k.Topic)),
		frozen("kafka.target-frozen", "the target's broker hangs", k.Target.Pid, k.Target.answers(k.Topic)),
		frozen("kafka.connect-frozen", "the worker that runs the mirror hangs", k.ConnectPid, func(ctx context.Context) error {
			return k.rest(ctx, http.MethodGet, "/connectors/"+k.Connector+"/status", nil, nil)
		}),
		k.commitMoved(),
		k.commitDeleted(),
		k.denialLifted(),
		k.passwordChanged(),
		k.topicClosed(),
		k.transactionOpen(),
		k.journal("witness.topic-ends-changed", "the journal says that the source goes further than it does, which nobody signed", func(body []byte) ([]byte, error) {
			type look struct {
				First      json.RawMessage  `json:"first"`
				Last       json.RawMessage  `json:"last"`
				Partitions []map[string]any `json:"partitions"`
				Run        string           `json:"run"`
			}
			var all []look
			if err := json.NewDecoder(bytes.NewReader(body)).Decode(&all); err != nil { // a signature follows
				return nil, err
			}
			for _, e := range all {
				for _, p := range e.Partitions {
					p["end"] = 1 << 30
				}
			}
			return json.Marshal(all)
		}),
		k.journal("witness.topic-ends-gone", "the journal has lost a topic", nil),
	}
}

func (k Kafka) there() map[string]string {
	return map[string]string{"topic": k.Topic, "consumer group": k.ConsumerGroup, "connect": k.Connect, "connector": k.Connector, "target's broker": first(k.Target.Brokers)}
}

// topic is what the faults of a topic at the target need, mirrored or not.
func (k Kafka) topic() map[string]string {
	return map[string]string{"topic": k.Topic, "target's broker": first(k.Target.Brokers)}
}

func first(all []string) string {
	if len(all) == 0 {
		return ""
	}
	return all[0]
}

// patience is how long a fault waits until it is in force, or healed.
const patience = 45 * time.Second

// until asks until there is no error.
func until(ctx context.Context, ask func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	return poll.Until(ctx, 100*time.Millisecond, func(ctx context.Context) (bool, error) {
		err := ask(ctx)
		return err == nil, err
	})
}

// frozen stops a process with SIGSTOP: its connections stay, and nobody answers.
func frozen(name fault.Name, doc string, pid int, answers func(context.Context) error) fault.Fault {
	var k kept[struct{}]
	return fault.Fault{
		Name: name, Doc: doc,
		Available: func() error {
			if pid <= 1 {
				return errors.New("this environment does not say the server's process id")
			}
			return nil
		},
		Inject: func(ctx context.Context) error {
			return errors.Join(k.put(struct{}{}), server.Freeze(ctx, pid))
		},
		Heal: func(ctx context.Context) error {
			return k.heal(func(struct{}) error {
				if err := server.Thaw(pid); err != nil {
					return err
				}
				return until(ctx, answers)
			})
		},
	}
}

func (c Cluster) admin() (*kadm.Client, error) {
	return kadm.NewOptClient(kgo.SeedBrokers(c.Brokers...), kgo.ClientID("faults"), kgo.RetryTimeout(5*time.Second))
}

// answers asks the cluster for what needs a leader and a coordinator: a broker
// that hung is for a while neither.
func (c Cluster) answers(topic string) func(context.Context) error {
	return func(ctx context.Context) error {
		adm, err := c.admin()
		if err != nil {
			return err
		}
		defer adm.Close()
		ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
		defer cancel()
		ends, err := adm.ListEndOffsets(ctx, topic)
		if err != nil {
			return err
		}
		if err := ends.Error(); err != nil {
			return err
		}
		_, err = adm.FetchOffsets(ctx, "faults-nobody")
		return err
	}
}

// rest asks the Connect worker.
func (k Kafka) rest(ctx context.Context, method, path string, body, into any) error {
	var send io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return err
		}
		send = bytes.NewReader(text)
	}
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, method, k.Connect+path, send)
	if err != nil {
		return err
	}
	req.Header.Set("Content-Type", "application/json")
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close() //nolint:errcheck // read
	text, err := io.ReadAll(res.Body)
	if err != nil {
		return err
	}
	if res.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %s", method, path, res.Status, text)
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(text, into)
}

// state waits until a connector is in a state, with or without tasks.
func (k Kafka) state(ctx context.Context, want string, tasks bool) error {
	return until(ctx, func(ctx context.Context) error {
		var st struct {
			Connector struct {
				State string `json:"state"`
			} `json:"connector"`
			Tasks []struct {
				State string `json:"state"`
			} `json:"tasks"`
		}
		if err := k.rest(ctx, http.MethodGet, "/connectors/"+k.Connector+"/status", nil, &st); err != nil {
			return err
		}
		if st.Connector.State != want || (len(st.Tasks) > 0) != tasks {
			return fmt.Errorf("connector %s is %s with %d tasks", k.Connector, st.Connector.State, len(st.Tasks))
		}
		return nil
	})
}

func (k Kafka) mirrorResumed() fault.Fault {
	var held kept[struct{}]
	put := func(ctx context.Context, verb string) error {
		return until(ctx, func(ctx context.Context) error {
			return k.rest(ctx, http.MethodPut, "/connectors/"+k.Connector+"/"+verb, nil, nil)
		})
	}
	return fault.Fault{
		Name: "kafka.mirror-resumed", Doc: "somebody resumes a connector of the mirror", Available: needs(k.there()),
		Inject: func(ctx context.Context) error {
			if err := errors.Join(held.put(struct{}{}), put(ctx, "resume")); err != nil {
				return err
			}
			return k.state(ctx, "RUNNING", true)
		},
		Heal: func(ctx context.Context) error {
			return held.heal(func(struct{}) error {
				if err := put(ctx, "stop"); err != nil {
					return err
				}
				return k.state(ctx, "STOPPED", false)
			})
		},
	}
}

// offsetMoved says in the name of a stopped connector that it delivered one more.
func (k Kafka) offsetMoved() fault.Fault {
	type offsets struct {
		Offsets []struct {
			Partition map[string]any   `json:"partition"`
			Offset    map[string]int64 `json:"offset"`
		} `json:"offsets"`
	}
	var held kept[struct{}]
	move := func(ctx context.Context, by int64) error {
		var all offsets
		path := "/connectors/" + k.Connector + "/offsets"
		if err := k.rest(ctx, http.MethodGet, path, nil, &all); err != nil {
			return err
		}
		for i, o := range all.Offsets {
			if o.Partition["topic"] != k.Topic {
				continue
			}
			o.Offset["offset"] += by
			all.Offsets = all.Offsets[i : i+1]
			return until(ctx, func(ctx context.Context) error { return k.rest(ctx, http.MethodPatch, path, all, nil) })
		}
		return fmt.Errorf("connector %s has no offset of topic %s", k.Connector, k.Topic)
	}
	return fault.Fault{
		Name: "kafka.mirror-offset-moved", Doc: "the mirror's offset in a partition is moved by one", Available: needs(k.there()),
		Inject: func(ctx context.Context) error { return errors.Join(held.put(struct{}{}), move(ctx, 1)) },
		Heal: func(ctx context.Context) error {
			return held.heal(func(struct{}) error { return move(ctx, -1) })
		},
	}
}

// commit is where a group stands in a partition of the topic.
func (k Kafka) commit(ctx context.Context, adm *kadm.Client) (kadm.Offset, error) {
	all, err := adm.FetchOffsets(ctx, k.ConsumerGroup)
	if err != nil {
		return kadm.Offset{}, err
	}
	for _, o := range all[k.Topic] {
		if o.Err == nil && o.At >= 0 {
			return o.Offset, nil
		}
	}
	return kadm.Offset{}, fmt.Errorf("consumer group %s has no commit in %s", k.ConsumerGroup, k.Topic)
}

func (k Kafka) set(ctx context.Context, adm *kadm.Client, o kadm.Offset, at int64) error {
	var all kadm.Offsets
	all.AddOffset(o.Topic, o.Partition, at, -1)
	done, err := adm.CommitOffsets(ctx, k.ConsumerGroup, all)
	if err != nil {
		return err
	}
	return done.Error()
}

// onCommit breaks a commit of the group, and puts it back.
func (k Kafka) onCommit(name fault.Name, doc string, broken func(context.Context, *kadm.Client, kadm.Offset) error) fault.Fault {
	var held kept[kadm.Offset]
	return fault.Fault{
		Name: name, Doc: doc, Available: needs(k.there()),
		Inject: func(ctx context.Context) error {
			adm, err := k.Target.admin()
			if err != nil {
				return err
			}
			defer adm.Close()
			o, err := k.commit(ctx, adm)
			if err != nil {
				return err
			}
			return errors.Join(held.put(o), broken(ctx, adm, o))
		},
		Heal: func(ctx context.Context) error {
			return held.heal(func(o kadm.Offset) error {
				adm, err := k.Target.admin()
				if err != nil {
					return err
				}
				defer adm.Close()
				return k.set(ctx, adm, o, o.At)
			})
		},
	}
}

func (k Kafka) commitMoved() fault.Fault {
	return k.onCommit("kafka.commit-moved", "somebody commits another offset for the group", func(ctx context.Context, adm *kadm.Client, o kadm.Offset) error {
		at := o.At - 1
		if at < 0 {
			at = 1
		}
		return k.set(ctx, adm, o, at)
	})
}

func (k Kafka) commitDeleted() fault.Fault {
	return k.onCommit("kafka.commit-deleted", "the group's commit in a partition is deleted", func(ctx context.Context, adm *kadm.Client, o kadm.Offset) error {
		set := kadm.TopicsSet{}
		set.Add(o.Topic, o.Partition)
		done, err := adm.DeleteOffsets(ctx, k.ConsumerGroup, set)
		if err != nil {
			return err
		}
		return done.Error()
	})
}

// topicClosed lets no record into the topic.
func (k Kafka) topicClosed() fault.Fault {
	var held kept[struct{}]
	alter := func(ctx context.Context, c kadm.AlterConfig) error {
		adm, err := k.Target.admin()
		if err != nil {
			return err
		}
		defer adm.Close()
		done, err := adm.AlterTopicConfigs(ctx, []kadm.AlterConfig{c}, k.Topic)
		if err != nil {
			return err
		}
		for _, d := range done {
			err = errors.Join(err, d.Err)
		}
		return err
	}
	const config = "max.message.bytes"
	return fault.Fault{
		Name: "kafka.topic-closed", Doc: "the topic takes no record of any size", Available: needs(k.topic()),
		Inject: func(ctx context.Context) error {
			return errors.Join(held.put(struct{}{}), alter(ctx, kadm.AlterConfig{Op: kadm.SetConfig, Name: config, Value: aws.String("1")}))
		},
		Heal: func(ctx context.Context) error {
			return held.heal(func(struct{}) error {
				return alter(ctx, kadm.AlterConfig{Op: kadm.DeleteConfig, Name: config})
			})
		},
	}
}

// transactionOpen leaves a transaction open in every partition, behind which no
// reader of committed records sees anything.
func (k Kafka) transactionOpen() fault.Fault {
	var held kept[*kgo.Client]
	return fault.Fault{
		Name: "kafka.transaction-open", Doc: "a producer leaves a transaction open", Available: needs(k.topic()),
		Inject: func(ctx context.Context) error {
			cl, err := kgo.NewClient(kgo.SeedBrokers(k.Target.Brokers...), kgo.TransactionalID("faults-"+strconv.Itoa(k.Target.Pid)),
				kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.TransactionTimeout(2*time.Minute))
			if err != nil {
				return err
			}
			if err := held.put(cl); err != nil {
				cl.Close()
				return err
			}
			adm := kadm.NewClient(cl)
			topics, err := adm.ListTopics(ctx, k.Topic)
			if err != nil {
				return err
			}
			if err := cl.BeginTransaction(); err != nil {
				return err
			}
			for _, p := range topics[k.Topic].Partitions.Numbers() {
				if err := cl.ProduceSync(ctx, &kgo.Record{Topic: k.Topic, Partition: p, Value: []byte("open")}).FirstErr(); err != nil {
					return err
				}
			}
			return nil
		},
		Heal: func(ctx context.Context) error {
			return held.heal(func(cl *kgo.Client) error {
				defer cl.Close()
				return cl.EndTransaction(ctx, kgo.TryAbort)
			})
		},
	}
}

// journal changes what the witness noted of the topic, or deletes it.
func (k Kafka) journal(name fault.Name, doc string, change func([]byte) ([]byte, error)) fault.Fault {
	var held kept[[]byte]
	put := func(ctx context.Context, body []byte) error {
		_, err := k.Journal.s3().PutObject(ctx, &s3.PutObjectInput{Bucket: &k.Journal.Bucket, Key: &k.JournalKey, Body: bytes.NewReader(body)})
		return err
	}
	return fault.Fault{
		Name: name, Doc: doc,
		Available: needs(map[string]string{"journal": k.Journal.Endpoint, "journal's bucket": k.Journal.Bucket, "key in the journal": k.JournalKey}),
		Inject: func(ctx context.Context) error {
			out, err := k.Journal.s3().GetObject(ctx, &s3.GetObjectInput{Bucket: &k.Journal.Bucket, Key: &k.JournalKey})
			if err != nil {
				return err
			}
			defer out.Body.Close() //nolint:errcheck // read
			body, err := io.ReadAll(out.Body)
			if err != nil {
				return err
			}
			if err := held.put(body); err != nil {
				return err
			}
			if change == nil {
				_, err := k.Journal.s3().DeleteObject(ctx, &s3.DeleteObjectInput{Bucket: &k.Journal.Bucket, Key: &k.JournalKey})
				return err
			}
			other, err := change(body)
			if err != nil {
				return err
			}
			return put(ctx, other)
		},
		Heal: func(ctx context.Context) error {
			return held.heal(func(body []byte) error { return put(ctx, body) })
		},
	}
}
