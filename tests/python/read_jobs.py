"""The jobs of docs/jobs, by the schema of Kubernetes and the parser of the shell."""

import pathlib
import subprocess
import unittest

import kubernetes_validate
import yaml

JOBS = pathlib.Path(__file__).parents[2] / "docs" / "jobs"


def documents(name):
    return list(yaml.safe_load_all((JOBS / name).read_text()))


class Jobs(unittest.TestCase):
    def test_the_ingest_is_a_job_of_kubernetes(self):
        for job in documents("ingest-kubernetes.yaml"):
            kubernetes_validate.validate(job, "1.30", strict=True)

    def test_the_pods_of_an_mpi_job_are_pods_of_kubernetes(self):
        # The operator's own schema is in no package; what it holds is checked here by hand.
        (job,) = documents("train-mpijob.yaml")
        self.assertEqual((job["apiVersion"], job["kind"]), ("kubeflow.org/v2beta1", "MPIJob"))
        self.assertLessEqual(set(job["spec"]), {"slotsPerWorker", "mpiImplementation", "runPolicy", "mpiReplicaSpecs"})
        replicas = job["spec"]["mpiReplicaSpecs"]
        self.assertEqual(set(replicas), {"Launcher", "Worker"})
        for role, replica in replicas.items():
            pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": role.lower()}, **replica["template"]}
            kubernetes_validate.validate(pod, "1.30", strict=True)
        launcher = replicas["Launcher"]["template"]["spec"]["containers"][0]
        ranks = int(launcher["args"][launcher["args"].index("-n") + 1])
        self.assertEqual(ranks, job["spec"]["slotsPerWorker"] * replicas["Worker"]["replicas"])

    def test_scripts_of_slurm_are_read_by_bash(self):
        scripts = sorted(JOBS.glob("*.slurm"))
        self.assertGreaterEqual(len(scripts), 2)
        for script in scripts:
            subprocess.run(["bash", "-n", script], check=True)


if __name__ == "__main__":
    unittest.main()
