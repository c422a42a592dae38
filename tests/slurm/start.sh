#!/usr/bin/env bash
# Usage: tests/slurm/start.sh FOLDER
# Starts a whole SLURM on this machine, as root and without systemd: munged, slurmctld and slurmd, with all their files
# in FOLDER. Use it with `export SLURM_CONF=FOLDER/slurm.conf`; stop it with `tests/slurm/stop.sh FOLDER`.
# Installs Debian's slurm-wlm and munge if they are missing. Status 77: SLURM cannot run here; the last line says why.
set -euo pipefail

unavailable() { echo "no SLURM here: $*"; exit 77; }

[ "$(id -u)" = 0 ] || unavailable 'its daemons need root'
mkdir -p "$1"
FOLDER=$(cd "$1" && pwd)
export PATH=$PATH:/usr/sbin
for program in munged slurmctld slurmd; do
    command -v "$program" > /dev/null && continue
    command -v apt-get > /dev/null || unavailable "$program is missing, and apt-get, too"
    # A program of another OpenMMLab test may hold the lock of apt.
    DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=60 install -y -q --no-install-recommends \
        slurm-wlm munge > "$FOLDER/install.log" 2>&1 || unavailable "apt-get install slurm-wlm munge fails: see $FOLDER/install.log"
done

free_port() { python3 -c 'import socket; s = socket.socket(); s.bind(("", 0)); print(s.getsockname()[1])'; }

mkdir -p "$FOLDER/state" "$FOLDER/spool"
chmod 755 "$FOLDER"
dd if=/dev/urandom of="$FOLDER/munge.key" bs=1024 count=1 status=none
chmod 400 "$FOLDER/munge.key"

cat > "$FOLDER/slurm.conf" <<CONF
ClusterName=test
SlurmctldHost=$(hostname)(127.0.0.1)
SlurmctldPort=$(free_port)
SlurmdPort=$(free_port)
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
# A requeued job waits for as long as a credential may live, which are 120 seconds by default.
AuthInfo=socket=$FOLDER/munge.socket,cred_expire=5
StateSaveLocation=$FOLDER/state
SlurmdSpoolDir=$FOLDER/spool
SlurmctldPidFile=$FOLDER/slurmctld.pid
SlurmdPidFile=$FOLDER/slurmd.pid
SlurmctldLogFile=$FOLDER/slurmctld.log
SlurmdLogFile=$FOLDER/slurmd.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=batch_sched_delay=0,sched_interval=1,bf_interval=1
ReturnToService=2
MailProg=/bin/true
SlurmdParameters=config_overrides
GresTypes=gpu
# The same as a cluster with partitions that take nodes from others.
PreemptType=preempt/partition_prio
PreemptMode=REQUEUE
KillWait=30
NodeName=$(hostname) NodeAddr=127.0.0.1 CPUs=2 Gres=gpu:2 State=UNKNOWN
PartitionName=batch Nodes=ALL Default=YES MaxTime=INFINITE State=UP PriorityTier=1
PartitionName=graceful Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=1 GraceTime=30
PartitionName=urgent Nodes=ALL MaxTime=INFINITE State=UP PriorityTier=9 PreemptMode=OFF
CONF
printf 'CgroupPlugin=cgroup/v1\nCgroupAutomount=no\nConstrainCores=no\n' > "$FOLDER/cgroup.conf"
mkdir -p "$FOLDER/gpus"
ln -sf /dev/null "$FOLDER/gpus/gpu0"
ln -sf /dev/null "$FOLDER/gpus/gpu1"
echo "Name=gpu File=$FOLDER/gpus/gpu[0-1]" > "$FOLDER/gres.conf"  # two to be counted, none to be used

munged --force --key-file="$FOLDER/munge.key" --socket="$FOLDER/munge.socket" --pid-file="$FOLDER/munged.pid" \
    --log-file="$FOLDER/munged.log" --seed-file="$FOLDER/munge.seed" || unavailable "munged does not start: see $FOLDER/munged.log"
export SLURM_CONF=$FOLDER/slurm.conf
slurmctld || unavailable "slurmctld does not start: see $FOLDER/slurmctld.log"
slurmd || unavailable "slurmd does not start: see $FOLDER/slurmd.log"
for _ in $(seq 100); do
    [ "$(sinfo -h -p batch -o %t 2> "$FOLDER/sinfo.log" || true)" = idle ] && exit 0
    sleep 0.2
done
unavailable "the node does not become idle: see $FOLDER/slurmctld.log and slurmd.log"
