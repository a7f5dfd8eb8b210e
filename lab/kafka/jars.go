package kafka

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
)

// JarsEnv names the folder of Kafka's jars when they are not in the cache.
const JarsEnv = "BREAKWATER_KAFKA_LIB"

// Jars finds the folder of Kafka's jars: $BREAKWATER_KAFKA_LIB, else
// .cache/kafka/lib in the working folder or the nearest folder above it. The
// error says how to get them; it is an fs.ErrNotExist.
func Jars() (string, error) {
	if dir := os.Getenv(JarsEnv); dir != "" {
		return dir, complete(dir)
	}
	at, err := os.Getwd()
	if err != nil {
		return "", fmt.Errorf("find Kafka's jars: %w", err)
	}
	for {
		dir := filepath.Join(at, ".cache", "kafka", "lib")
		if err := complete(dir); err == nil {
			return dir, nil
		} else if !errors.Is(err, fs.ErrNotExist) {
			return "", err
		}
		up := filepath.Dir(at)
		if up == at {
			return "", fmt.Errorf("find Kafka's jars: no .cache/kafka/lib here or above, and %s is not set: "+
				"run make tools, which fetches them as lab/tools/kafka/pom.xml pins them: %w", JarsEnv, fs.ErrNotExist)
		}
		at = up
	}
}

// complete reports whether dir holds the artefacts that the laboratory runs.
func complete(dir string) error {
	for _, pattern := range []string{"kafka_2.13-*.jar", "connect-mirror-*.jar", "kafka-tools-[0-9]*.jar", "slf4j-simple-*.jar"} {
		found, err := filepath.Glob(filepath.Join(dir, pattern))
		if err != nil {
			return fmt.Errorf("look for %s in %s: %w", pattern, dir, err)
		}
		if len(found) == 0 {
			return fmt.Errorf("%s has no %s: run make tools, or point %s at a folder with Kafka's jars: %w",
				dir, pattern, JarsEnv, fs.ErrNotExist)
		}
	}
	return nil
}

// java finds the virtual machine, as Kafka's own scripts do.
func java() (string, error) {
	if home := os.Getenv("JAVA_HOME"); home != "" {
		return filepath.Join(home, "bin", "java"), nil
	}
	bin, err := exec.LookPath("java")
	if err != nil {
		return "", fmt.Errorf("no java on the PATH: install a Java 17 runtime or set JAVA_HOME: %w", err)
	}
	return bin, nil
}

// jvm is the start of every command line: quick to start and small, since two
// brokers and Connect share a laptop with everything else.
func jvm(logConf, jars, class string, args ...string) []string {
	path := filepath.Join(jars, "*")
	if logConf != "" {
		path = logConf + string(os.PathListSeparator) + path
	}
	return append([]string{
		fmt.Sprintf("-Xmx%dm", heapMB), "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", path, class,
	}, args...)
}

// logging makes the servers write warnings only, with times.
func logging(dir string) (string, error) {
	conf := filepath.Join(dir, "logging")
	if err := os.MkdirAll(conf, 0o755); err != nil {
		return "", fmt.Errorf("make %s: %w", conf, err)
	}
	text := "org.slf4j.simpleLogger.defaultLogLevel=warn\n" +
		"org.slf4j.simpleLogger.showDateTime=true\n" +
		"org.slf4j.simpleLogger.dateTimeFormat=HH:mm:ss.SSS\n"
	path := filepath.Join(conf, "simplelogger.properties")
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		return "", fmt.Errorf("write %s: %w", path, err)
	}
	return conf, nil
}
