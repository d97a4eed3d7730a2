def discount(price, percent):
    return price - price * percent


def run(command):
    import subprocess
    return subprocess.check_output("convert " + command, shell=True)
